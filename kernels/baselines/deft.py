"""What the three DeFT variants share (arXiv 2404.00242): a partial result for each group and row, then a reduction.

The variants differ only in how they cut the forest into groups (groups.py). The reduction follows the tree: each row
folds the groups on its path. Query heads of one KV head share a tile here as everywhere in this folder, so that a
comparison shows the cut and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import triton
import triton.language as tl

from treereason.kernels.baselines.groups import Cut, make_groups
from treereason.kernels.gpu.launch import Launcher
from treereason.kernels.gpu.row_blocks import widest_tree
from treereason.kernels.gpu.tile import Tile, arch_of, attend_tiles, choose_tile, fold, store_partial, store_result
from treereason.kernels.layer import LayerShape
from treereason.kernels.options import AttentionOptions
from treereason.kernels.plan import Plan


@triton.jit  # type: ignore[untyped-decorator]
def deft_kernel(  # type: ignore[no-untyped-def]
    q, k, v, partial_out, partial_lse, row_position, page_slot, page_seen, page_start,
    group_lo, group_hi, group_first, group_mixed, group_last,
    stride_q, stride_qh, stride_k, stride_kh, stride_v, stride_vh, scale, window, softcap,
    G: tl.constexpr, D: tl.constexpr, PAGE: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr,
):  # fmt: skip
    """Grid (groups, Hkv). partial_out [groups, Hkv, BLOCK_M, D], partial_lse [groups, Hkv, BLOCK_M]."""
    group = tl.program_id(0)
    head = tl.program_id(1)
    row_lo = tl.load(group_lo + group)
    row_hi = tl.load(group_hi + group)
    first = tl.load(group_first + group)
    mixed = first  # the cut knows of no window, so with one every tile is masked
    if not WINDOW:
        mixed = tl.load(group_mixed + group)
    acc, top, total = attend_tiles(
        q, k, v, row_lo, row_hi, head, first, mixed, tl.load(group_last + group), row_position, page_slot, page_seen,
        page_start, stride_q, stride_qh, stride_k, stride_kh, stride_v, stride_vh, scale, window, softcap, G, D, PAGE,
        BLOCK_M, BLOCK_N, BLOCK_D, WINDOW, SOFTCAP,
    )  # fmt: skip
    first_partial = (group.to(tl.int64) * tl.num_programs(1) + head) * BLOCK_M
    real = row_lo + tl.arange(0, BLOCK_M) // G < row_hi
    store_partial(partial_out, partial_lse, acc, top, total, first_partial, real, D, BLOCK_M, BLOCK_D)


@triton.jit  # type: ignore[untyped-decorator]
def reduce_kernel(  # type: ignore[no-untyped-def]
    partial_out, partial_lse, out, lse, sinks, pair_start, pair_group, pair_rank,
    G: tl.constexpr, D: tl.constexpr, BLOCK_M: tl.constexpr, REDUCE_M: tl.constexpr, BLOCK_D: tl.constexpr,
    SINKS: tl.constexpr,
):  # fmt: skip
    """Grid (N, Hkv): the G query heads of one row and KV head over the groups on the row's path."""
    row = tl.program_id(0)
    head = tl.program_id(1)
    i = tl.arange(0, REDUCE_M)
    d = tl.arange(0, BLOCK_D)
    top = tl.full([REDUCE_M], float("-inf"), tl.float32)
    total = tl.zeros([REDUCE_M], tl.float32)
    acc = tl.zeros([REDUCE_M, BLOCK_D], tl.float32)
    for pair in range(tl.load(pair_start + row), tl.load(pair_start + row + 1)):
        group = tl.load(pair_group + pair).to(tl.int64)
        part = (group * tl.num_programs(1) + head) * BLOCK_M + tl.load(pair_rank + pair) * G + i
        mask = (i < G)[:, None] & (d < D)[None, :]
        part_out = tl.load(partial_out + part[:, None] * D + d[None, :], mask=mask, other=0.0)
        part_lse = tl.load(partial_lse + part, mask=i < G, other=float("-inf"))
        acc, top, total = fold(acc, top, total, part_out, part_lse)
    store_result(out, lse, sinks, acc, top, total, i, row, row + 1, head, tl.num_programs(1), G, D, BLOCK_D, SINKS)


class Deft:
    """Attention of one plan by groups. Planned afresh whenever the forest grows, as published.

    cut: how the plan is cut into groups, one of `groups.CUTS`. Windows are masked, never cut away.
    """

    def __init__(
        self,
        plan: Plan,
        shape: LayerShape,
        device: torch.device | str,
        *,
        cut: Callable[[Plan], Cut],
        tile: Tile | None = None,
    ) -> None:
        num_query_rows = widest_tree(plan) * shape.group_size
        self.tile = tile or choose_tile(num_query_rows, shape.head_dim, shape.dtype, arch_of(device))
        self.groups = make_groups(
            cut(plan),
            plan,
            block_rows=self.tile.rows(shape.group_size),
            tile_pages=self.tile.pages(plan.page_size),
        )
        arrays = {"row_position": plan.row_position, **vars(self.groups)}
        self._arrays = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
        self._launcher = Launcher(shape, plan.page_size, self.tile)

    def __call__(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, options: AttentionOptions
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shapes and meaning as in `PlannedAttention`; k and v may have any slot and head strides."""
        num_kv_heads = self._launcher.shape.num_kv_heads
        call = self._launcher.bind(q, k, v, options, self._arrays, num_partials=self.groups.num_groups)
        call.launch(deft_kernel, (self.groups.num_groups, num_kv_heads), **self.tile.options())
        call.launch(reduce_kernel, (q.shape[0], num_kv_heads), REDUCE_M=16, num_warps=4)
        return call.out, call.lse
