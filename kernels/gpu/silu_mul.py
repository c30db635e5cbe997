"""The gate of a feed-forward network in one launch: silu(gate) * up (Shazeer, arXiv 2002.05202)."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

BLOCK = 1024


@triton.jit  # type: ignore[untyped-decorator]
def silu_mul_kernel(  # type: ignore[no-untyped-def]
    gate, up, out, stride_gate, stride_up, COLUMNS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Grid (rows, blocks of columns). out is contiguous."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = column < COLUMNS
    stored = out.dtype.element_ty
    x = tl.load(gate + row * stride_gate + column, mask=mask, other=0.0).to(tl.float32)
    gated = (x / (1.0 + tl.exp(-x))).to(stored).to(tl.float32)  # rounded, as by a module of its own
    other = tl.load(up + row * stride_up + column, mask=mask, other=0.0).to(tl.float32)
    tl.store(out + row * COLUMNS + column, (gated * other).to(stored), mask=mask)


def silu_mul(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """silu(gate), rounded to the dtype, times up; gate and up [..., W] of one shape and dtype: contiguous, as they are.

    Raises ValueError where shapes or dtypes differ, or a row's elements do not adjoin.
    """
    if gate.shape != up.shape or gate.dtype != up.dtype:
        raise ValueError(f"gate is {tuple(gate.shape)} {gate.dtype}, up {tuple(up.shape)} {up.dtype}")
    num_columns = gate.shape[-1]
    gates, ups = (x.reshape(-1, num_columns) for x in (gate, up))
    if gates.stride(-1) != 1 or ups.stride(-1) != 1:
        raise ValueError("the elements of a row must be contiguous")
    out = torch.empty(gate.shape, dtype=gate.dtype, device=gate.device)
    silu_mul_kernel[(len(gates), triton.cdiv(num_columns, BLOCK))](
        gates, ups, out, gates.stride(0), ups.stride(0), COLUMNS=num_columns, BLOCK=BLOCK, num_warps=4
    )
    return out
