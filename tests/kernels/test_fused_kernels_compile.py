"""The kernels of norm, gate and rotation compile ahead of time for every target, and spill no register.

The whole table (`-m slow -s`) is every dtype and width; what always runs is one of each kernel.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import pytest
import torch

pytest.importorskip("triton")

from treereason.kernels.gpu.rms_norm import MOST_COLUMNS, rms_norm_kernel, tile
from treereason.kernels.gpu.rope_store import BLOCK_H, rope_store_kernel
from treereason.kernels.gpu.silu_mul import BLOCK, silu_mul_kernel
from treereason.kernels.tools.compile_report import TARGETS, Report, compile_report

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
KERNELS = {"rms_norm": rms_norm_kernel, "rope_store": rope_store_kernel, "silu_mul": silu_mul_kernel}
WIDTHS = {
    "rms_norm": (64, 128, 2880, 4096, 8192, MOST_COLUMNS),
    "rope_store": (64, 96, 128, 256),
    "silu_mul": (2880, 14336),
}


@dataclass(frozen=True)
class Case:
    """width: columns of a row, or the head size. features: with a residual, and a weight less one."""

    kernel: str
    target: str
    dtype: str
    width: int
    features: bool = True


def report(case: Case) -> Report:
    constants: dict[str, int | bool]
    options = {"num_warps": 4}
    if case.kernel == "rms_norm":
        block_rows, block, options["num_warps"] = tile(case.width)
        constants = {"COLUMNS": case.width, "BLOCK_ROWS": block_rows, "BLOCK": block}
        constants |= dict.fromkeys(("RESIDUAL", "LATE_CAST", "ONE_MORE"), case.features)
    elif case.kernel == "rope_store":
        half = case.width // 2
        constants = {"HALF": half, "BLOCK_H": BLOCK_H, "BLOCK_HALF": 1 << (half - 1).bit_length()}
        options["enable_fp_fusion"] = False
    else:
        constants = {"COLUMNS": case.width, "BLOCK": BLOCK}
    return compile_report(KERNELS[case.kernel], case.target, DTYPES[case.dtype], constants, options)


@pytest.fixture(scope="module")
def compilers() -> Iterator[Executor]:
    """Processes for `check`."""
    workers = int(os.environ.get("TREEREASON_COMPILE_WORKERS", "2"))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield pool


def check(cases: list[Case], compilers: Executor) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # Nothing compiles where Triton interprets, so a process begins without what tests/conftest.py asks for.
        patch.delenv("TRITON_INTERPRET", raising=False)
        found = dict(zip(cases, compilers.map(report, cases, chunksize=2), strict=True))
    for case, each in found.items():
        what = (
            f"{case.kernel:10} {case.target:6} {case.dtype:4} {case.width:5} {'features' if case.features else '-':8}"
        )
        print(f"{what} {each.registers:4} registers, {each.spilled} bytes spilled, {each.shared:5} shared")
    assert [case for case, each in found.items() if each.spilled] == []
    assert max(each.shared for each in found.values()) <= 8192


@pytest.mark.slow
def test_one_of_each_kernel(compilers: Executor) -> None:
    widths = {"rms_norm": 4096, "rope_store": 128, "silu_mul": 14336}
    check([Case(kernel, target, "bf16", widths[kernel]) for target in TARGETS for kernel in KERNELS], compilers)


@pytest.mark.slow
def test_every_width_and_dtype(compilers: Executor) -> None:
    check(
        [
            Case(kernel, target, dtype, width, features)
            for target in TARGETS
            for dtype in DTYPES
            for kernel in KERNELS
            for width in WIDTHS[kernel]
            for features in ((False, True) if kernel == "rms_norm" else (True,))
        ],
        compilers,
    )
