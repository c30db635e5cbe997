"""What the three DeFT variants share (arXiv 2404.00242): a partial result for each group and row, then a reduction.

The variants differ only in how they cut the forest into groups (groups.py). The reduction follows the tree: each row
folds the groups on its path. Query heads of one KV head share a tile here as everywhere in this folder, so that a
comparison shows the cut and nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import triton
import triton.language as tl

from treereason.kernels.baselines.groups import Cut, make_groups
from treereason.kernels.gpu.tile import (
    Tile,
    arch_of,
    attend_tiles,
    block_d,
    check_layout,
    choose_tile,
    fold,
    store_partial,
    store_result,
)
from treereason.kernels.gpu.work import page_table, widest_tree
from treereason.kernels.options import AttentionOptions
from treereason.kernels.plan import Plan


@triton.jit  # type: ignore[untyped-decorator]
def deft_kernel(  # type: ignore[no-untyped-def]
    q, k, v, partial_out, partial_lse, row_position, page, page_tokens, page_start, page_lo, page_hi,
    row_los, row_his, tile_start, mixed, tile_first, tile_last,
    stride_q, stride_qh, stride_k, stride_kh, stride_v, stride_vh, scale, window, softcap,
    G: tl.constexpr, D: tl.constexpr, PAGE: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr,
):  # fmt: skip
    """Grid (groups, Hkv). partial_out [groups, Hkv, BLOCK_M, D], partial_lse [groups, Hkv, BLOCK_M]."""
    group = tl.program_id(0)
    head = tl.program_id(1)
    row_lo = tl.load(row_los + group)
    row_hi = tl.load(row_his + group)
    first = tl.load(tile_start + group)
    last = tl.load(tile_start + group + 1)
    middle = tl.where(tl.load(mixed + group) != 0, first, last)
    acc, top, total = attend_tiles(
        q, k, v, row_lo, row_hi, head, first, middle, last, row_position, page, page_tokens, page_start, page_lo,
        page_hi, tile_first, tile_last, stride_q, stride_qh, stride_k, stride_kh, stride_v, stride_vh, scale, window,
        softcap, G, D, PAGE, BLOCK_M, BLOCK_N, BLOCK_D, WINDOW, SOFTCAP,
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


class Deft(ABC):
    """Attention of one plan by groups. Planned afresh whenever the forest grows, as published."""

    def __init__(
        self,
        plan: Plan,
        *,
        num_heads: int,
        num_kv_heads: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device | str,
        tile: Tile | None = None,
    ) -> None:
        self._group_size = num_heads // num_kv_heads
        self._num_kv_heads = num_kv_heads
        self._page_size = plan.page_size
        self.tile = tile or choose_tile(widest_tree(plan) * self._group_size, head_dim, dtype, arch_of(device))
        self.groups = make_groups(
            self.cut(plan),
            plan.num_rows,
            block_rows=self.tile.rows(self._group_size),
            tile_pages=self.tile.block_n // plan.page_size,
        )
        arrays = {"row_position": plan.row_position, **page_table(plan), **vars(self.groups)}
        self._arrays = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
        rows = len(self.groups.row_lo) * num_kv_heads * self.tile.block_m
        self._partial_out = torch.empty(rows, head_dim, dtype=torch.float32, device=device)
        self._partial_lse = torch.empty(rows, dtype=torch.float32, device=device)

    @staticmethod
    @abstractmethod
    def cut(plan: Plan) -> Cut:
        """The variant: how a plan is cut into groups."""

    def __call__(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, options: AttentionOptions
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shapes and meaning as in `PlannedAttention`; k and v may have any slot and head strides."""
        check_layout(q, k, v)
        tile, head_dim = self.tile, q.shape[2]
        out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
        lse = torch.empty(q.shape[:2], dtype=torch.float32, device=q.device)
        table = ("row_position", "page", "page_tokens", "page_start", "page_lo", "page_hi")
        groups = ("row_lo", "row_hi", "tile_start", "mixed", "tile_first", "tile_last")
        deft_kernel[(len(self.groups.row_lo), self._num_kv_heads)](
            *(q, k, v, self._partial_out, self._partial_lse),
            *(self._arrays[name] for name in (*table, *groups)),
            *(q.stride(0), q.stride(1), k.stride(0), k.stride(1), v.stride(0), v.stride(1)),
            *(options.scale, options.window or 0, options.softcap or 0.0),
            G=self._group_size,
            D=head_dim,
            PAGE=self._page_size,
            BLOCK_M=tile.block_m,
            BLOCK_N=tile.block_n,
            BLOCK_D=block_d(head_dim),
            WINDOW=options.window is not None,
            SOFTCAP=options.softcap is not None,
            **tile.options(),
        )
        reduce_kernel[(q.shape[0], self._num_kv_heads)](
            *(self._partial_out, self._partial_lse, out, lse, lse if options.sinks is None else options.sinks.float()),
            *(self._arrays[name] for name in ("pair_start", "pair_group", "pair_rank")),
            G=self._group_size,
            D=head_dim,
            BLOCK_M=tile.block_m,
            REDUCE_M=16,
            BLOCK_D=block_d(head_dim),
            SINKS=options.sinks is not None,
            num_warps=4,
        )
        return out, lse
