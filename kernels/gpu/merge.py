"""Folds the partial results of row blocks that several programs worked on, in order, so that bits do not vary."""

from __future__ import annotations

import triton
import triton.language as tl

from treereason.kernels.gpu.launch import Call
from treereason.kernels.gpu.tile import fold, store_result

MERGE_M = 16


@triton.jit  # type: ignore[untyped-decorator]
def merge_kernel(  # type: ignore[no-untyped-def]
    partial_out, partial_lse, out, lse, sinks, block_lo, block_hi, merge_block, merge_partial,
    G: tl.constexpr, D: tl.constexpr, BLOCK_M: tl.constexpr, MERGE_M: tl.constexpr, BLOCK_D: tl.constexpr,
    SINKS: tl.constexpr,
):  # fmt: skip
    """Grid (merges, BLOCK_M // MERGE_M, Hkv): MERGE_M tile rows of one split block; programs without rows stop."""
    first = tl.load(merge_partial + tl.program_id(0))
    last = tl.load(merge_partial + tl.program_id(0) + 1)
    if first < last:
        head = tl.program_id(2)
        num_kv_heads = tl.num_programs(2)
        block = tl.load(merge_block + tl.program_id(0))
        row_lo = tl.load(block_lo + block)
        row_hi = tl.minimum(tl.load(block_hi + block), row_lo + BLOCK_M // G)
        i = tl.program_id(1) * MERGE_M + tl.arange(0, MERGE_M)
        real = row_lo + i // G < row_hi
        d = tl.arange(0, BLOCK_D)
        top = tl.full([MERGE_M], float("-inf"), tl.float32)
        total = tl.zeros([MERGE_M], tl.float32)
        acc = tl.zeros([MERGE_M, BLOCK_D], tl.float32)
        for partial in range(first, last):
            part = (partial * num_kv_heads + head.to(tl.int64)) * BLOCK_M + i
            part_out = tl.load(
                partial_out + part[:, None] * D + d[None, :], mask=real[:, None] & (d < D)[None, :], other=0.0
            )
            part_lse = tl.load(partial_lse + part, mask=real, other=float("-inf"))
            acc, top, total = fold(acc, top, total, part_out, part_lse)
        store_result(out, lse, sinks, acc, top, total, i, row_lo, row_hi, head, num_kv_heads, G, D, BLOCK_D, SINKS)


def merge_partials(call: Call, num_merges: int) -> None:
    """Finishes the `num_merges` row blocks that left several partial results; needs Work's arrays in the call."""
    launcher = call.launcher
    grid = (num_merges, launcher.tile.block_m // MERGE_M, launcher.shape.num_kv_heads)
    call.launch(merge_kernel, grid, MERGE_M=MERGE_M, num_warps=4)
