"""Folds the partial results of row blocks that several programs worked on; the order is fixed, so bits do not vary."""

from __future__ import annotations

from dataclasses import replace

import triton
import triton.language as tl

from treereason.kernels.gpu.launch import Call
from treereason.kernels.gpu.tile import store_result

MERGE_M = 2
MOST_PROGRAMS = 16
"""For the split blocks of a KV head: those beyond wait, while empty programs would cost more to start."""
SLOTS = 16
"""Partial results that are loaded together: one after another, each would wait for the one before."""


@triton.jit  # type: ignore[untyped-decorator]
def merge_kernel(  # type: ignore[no-untyped-def]
    partial_out, partial_lse, out, lse, sinks, merge_count, merge_lo, merge_hi, merge_partial,
    G: tl.constexpr, D: tl.constexpr, BLOCK_M: tl.constexpr, MERGE_M: tl.constexpr, SLOTS: tl.constexpr,
    BLOCK_D: tl.constexpr, SINKS: tl.constexpr,
):  # fmt: skip
    """Grid (programs, BLOCK_M // MERGE_M, Hkv): MERGE_M tile rows of every split block in turn."""
    head = tl.program_id(2)
    num_kv_heads = tl.num_programs(2)
    i = tl.program_id(1) * MERGE_M + tl.arange(0, MERGE_M)
    d = tl.arange(0, BLOCK_D)
    for merge in range(tl.program_id(0), tl.load(merge_count), tl.num_programs(0)):
        row_lo = tl.load(merge_lo + merge)
        row_hi = tl.load(merge_hi + merge)
        first = tl.load(merge_partial + merge)
        last = tl.load(merge_partial + merge + 1)
        if row_lo + tl.program_id(1) * MERGE_M // G < row_hi:
            real = row_lo + i // G < row_hi
            top = tl.full([MERGE_M], float("-inf"), tl.float32)
            total = tl.zeros([MERGE_M], tl.float32)
            acc = tl.zeros([MERGE_M, BLOCK_D], tl.float32)
            for some in range(first, last, SLOTS):
                partial = some + tl.arange(0, SLOTS)
                part = (partial[:, None] * num_kv_heads + head.to(tl.int64)) * BLOCK_M + i[None, :]  # [SLOTS, MERGE_M]
                there = (partial < last)[:, None] & real[None, :]
                part_lse = tl.load(partial_lse + part, mask=there, other=float("-inf"))
                part_out = tl.load(
                    partial_out + part[:, :, None] * D + d[None, None, :],
                    mask=there[:, :, None] & (d < D)[None, None, :],
                    other=0.0,
                )
                new_top = tl.maximum(top, tl.max(part_lse, 0))
                base = tl.where(new_top == float("-inf"), 0.0, new_top)
                weight = tl.exp2(part_lse - base[None, :])
                shrink = tl.exp2(top - base)
                acc = acc * shrink[:, None] + tl.sum(part_out * weight[:, :, None], 0)
                total = total * shrink + tl.sum(weight, 0)
                top = new_top
            store_result(out, lse, sinks, acc, top, total, i, row_lo, row_hi, head, num_kv_heads, G, D, BLOCK_D, SINKS)


def merge_partials(call: Call, most_merges: int) -> None:
    """Finishes the row blocks that left several partial results, at most `most_merges`; needs Work's arrays."""
    launcher = call.launcher
    grid = (min(most_merges, MOST_PROGRAMS), launcher.tile.block_m // MERGE_M, launcher.shape.num_kv_heads)
    options = replace(launcher.tile, warps=MERGE_M).options()
    call.launch(merge_kernel, grid, MERGE_M=MERGE_M, SLOTS=SLOTS, **options)
