"""Ahead-of-time compilation of a kernel for a GPU that need not be there, and what its compiler reports.

Registers, spilled bytes and shared memory come from ptxas and from the AMD code object's own notes. Occupancy and
speed do not follow from these alone; a spill or an overflow of shared memory does rule a tile shape out.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from treereason.kernels.tools.machine_code import InnerLoop, inner_loops

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_120": GPUTarget("cuda", 120, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
MODEL_DTYPE = {"q", "k", "v", "out", "x", "residual", "total", "weight", "gate", "up", "cos", "sin", "logits"}
_POINTEE = {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float32: "fp32"}
_FLOAT_ARRAYS = {
    *("lse", "sinks", "temperature", "top_p", "log_min_p", "lowest", "log_total_k", "logprobs"),
    *("part_best", "part_top", "part_total", "part_tempered"),
}


@dataclass(frozen=True)
class Report:
    """Per thread registers and spilled bytes, per program shared memory in bytes.

    serialised: ptxas says that it waits behind every wgmma (its warning C7515). code: PTX, or AMD's assembly.
    loops: what the innermost loops with matrix products do, where asked for.
    """

    registers: int
    spilled: int
    shared: int
    serialised: bool
    code: str = field(repr=False)
    loops: tuple[InnerLoop, ...] = ()


def compile_report(
    kernel: triton.JITFunction,
    target: str,
    dtype: torch.dtype,
    constexprs: Mapping[str, int | bool],
    options: Mapping[str, int],
    *,
    loops: bool = False,
) -> Report:
    """Compiles as a launch with aligned pointers and strides would. Needs TRITON_INTERPRET unset.

    target: one of TARGETS. dtype: of q, k, v, out or logits. constexprs: every one the kernel has. options: the
    compiler's. loops: disassemble as well; NVIDIA only.
    Names of arguments say the types: those of MODEL_DTYPE and *_pool have the model's dtype; keys, positions and tokens
    are int64; partial_* and _FLOAT_ARRAYS float32; scale, softcap, eps, lowest_temperature floats; stride_*, num_*,
    window integers; the rest are int32 arrays.
    """
    signature = {}
    attrs = {}
    for index, name in enumerate(kernel.arg_names):
        signature[name] = "constexpr" if name in constexprs else _type_of(name, dtype)
        if signature[name].startswith("*") or name.startswith("stride") or name == "num_ids":
            attrs[(index,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, constexprs=dict(constexprs), attrs=attrs)
    log = io.StringIO()
    with _fresh_compile(), contextlib.redirect_stdout(log):
        compiled = triton.compile(source, target=TARGETS[target], options=dict(options))
    if target.startswith("sm"):
        text = log.getvalue()
        spilled = sum(int(n) for n in re.findall(r"(\d+) bytes spill (?:stores|loads)", text))
        registers = max(int(n) for n in re.findall(r"Used (\d+) registers", text))
    else:
        text = compiled.asm["amdgcn"]
        notes = {key: int(n) for key, n in re.findall(r"\.(\w+_count): +(\d+)", text)}
        registers = notes["vgpr_count"]  # the unified file: accumulation registers are in it
        spilled = 4 * notes["vgpr_spill_count"]  # scalar registers spill into vector ones, not to memory
    code = compiled.asm["ptx" if target.startswith("sm") else "amdgcn"]
    found = inner_loops(compiled.asm["cubin"]) if loops else ()
    return Report(registers, spilled, compiled.metadata.shared, "C7515" in log.getvalue(), code, found)


def _type_of(name: str, dtype: torch.dtype) -> str:
    if name in MODEL_DTYPE or name.endswith("_pool"):
        return "*" + _POINTEE[dtype]
    if name in {"keys", "positions", "tokens"}:
        return "*i64"
    if name in _FLOAT_ARRAYS or name.startswith("partial_"):
        return "*fp32"
    if name in {"scale", "softcap", "eps", "lowest_temperature"}:
        return "fp32"
    return "i32" if name.startswith(("stride", "window", "num_")) else "*i32"


@contextlib.contextmanager
def _fresh_compile() -> Iterator[None]:
    """ptxas prints its report only when it runs, so the compile cache is passed over."""
    before = knobs.compilation.always_compile, knobs.nvidia.dump_ptxas_log
    knobs.compilation.always_compile, knobs.nvidia.dump_ptxas_log = True, True
    try:
        yield
    finally:
        knobs.compilation.always_compile, knobs.nvidia.dump_ptxas_log = before
