"""Root mean square norm of rows in one launch, with the residual added before it where there is one.

Zhang and Sennrich, arXiv 1910.07467. The sum of squares is in float32, however the rows are stored.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from treereason.kernels.norm_form import PLAIN, NormForm

MOST_COLUMNS = 1 << 14  # twice as many spill registers in float32
_TILE = 2048  # numbers that four warps hold; narrow rows share a tile


@triton.jit(do_not_specialize=["num_rows"])  # type: ignore[untyped-decorator]
def rms_norm_kernel(  # type: ignore[no-untyped-def]
    x, residual, weight, total, out, stride_x, stride_residual, num_rows, eps,
    COLUMNS: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK: tl.constexpr, RESIDUAL: tl.constexpr,
    LATE_CAST: tl.constexpr, ONE_MORE: tl.constexpr,
):  # fmt: skip
    """Grid (blocks of rows,). total and out are contiguous."""
    row = tl.program_id(0).to(tl.int64) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)[:, None]
    column = tl.arange(0, BLOCK)[None, :]
    inside = column < COLUMNS
    mask = (row < num_rows) & inside
    stored = out.dtype.element_ty
    rows = tl.load(x + row * stride_x + column, mask=mask, other=0.0)
    if RESIDUAL:
        other = tl.load(residual + row * stride_residual + column, mask=mask, other=0.0)
        rows = (other.to(tl.float32) + rows.to(tl.float32)).to(stored)
        tl.store(total + row * COLUMNS + column, rows, mask=mask)
    rows = rows.to(tl.float32)
    variance = tl.sum(rows * rows, 1) / COLUMNS
    rows = rows * tl.rsqrt(variance + eps)[:, None]
    scale = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    if ONE_MORE:
        scale = scale + 1.0
    if not LATE_CAST:
        rows = rows.to(stored).to(tl.float32)
    tl.store(out + row * COLUMNS + column, (rows * scale).to(stored), mask=mask)


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float, form: NormForm = PLAIN) -> torch.Tensor:
    """x [..., W] over its root mean square, times weight [W]: contiguous, in x's dtype.

    Raises ValueError where a row's elements do not adjoin, or are more than MOST_COLUMNS.
    """
    out, _ = _launch(x, None, weight, eps, form)
    return out


def add_rms_norm(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, eps: float, form: NormForm = PLAIN
) -> tuple[torch.Tensor, torch.Tensor]:
    """(rms_norm(residual + x), residual + x), the sum rounded to x's dtype first. x, residual: [..., W], of one dtype.

    Raises as rms_norm does.
    """
    out, total = _launch(x, residual, weight, eps, form)
    assert total is not None
    return out, total


def _launch(
    x: torch.Tensor, residual: torch.Tensor | None, weight: torch.Tensor, eps: float, form: NormForm
) -> tuple[torch.Tensor, torch.Tensor | None]:
    num_columns = x.shape[-1]
    if num_columns > MOST_COLUMNS:
        raise ValueError(f"rows of {num_columns:,} elements; at most {MOST_COLUMNS:,} are normed in one piece")
    rows = x.reshape(-1, num_columns)
    others = rows if residual is None else residual.reshape(-1, num_columns)
    if any(tensor.stride(-1) != 1 for tensor in (rows, others, weight)):
        raise ValueError("the elements of a row must be contiguous")
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    total = None if residual is None else torch.empty(x.shape, dtype=x.dtype, device=x.device)
    block_rows, block, num_warps = tile(num_columns)
    rms_norm_kernel[(triton.cdiv(len(rows), block_rows),)](
        *(rows, others, weight, out if total is None else total, out),
        *(rows.stride(0), others.stride(0), len(rows), eps),
        COLUMNS=num_columns,
        BLOCK_ROWS=block_rows,
        BLOCK=block,
        RESIDUAL=residual is not None,
        LATE_CAST=form.late_cast,
        ONE_MORE=form.one_more,
        num_warps=num_warps,
    )
    return out, total


def tile(num_columns: int) -> tuple[int, int, int]:
    """Rows and columns of a program's tile, and its warps: of the width alone, so that a row's bits never change."""
    block = 1 << (num_columns - 1).bit_length()
    return max(1, _TILE // block), block, min(16, max(4, block // 512))
