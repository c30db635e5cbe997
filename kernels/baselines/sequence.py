"""The baseline without trees: every row reads its own whole path, as a paged sequence engine would.

An honest one: the path is split over programs (split-KV) until the device is full, and the query heads of a KV head
share a tile, so KV is read once for all of them. What it cannot do is read a shared page once for several rows.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from treereason.kernels.gpu.device_work import PlannedWork
from treereason.kernels.gpu.merge import MERGE_M, merge_kernel
from treereason.kernels.gpu.tile import (
    Tile,
    arch_of,
    attend_tiles,
    block_d,
    check_layout,
    choose_tile,
    programs,
    store_partial,
    store_result,
)
from treereason.kernels.gpu.work import Work, make_work
from treereason.kernels.options import AttentionOptions
from treereason.kernels.plan import Plan


@triton.jit  # type: ignore[untyped-decorator]
def sequence_kernel(  # type: ignore[no-untyped-def]
    q, k, v, out, lse, partial_out, partial_lse, sinks,
    row_position, page, page_tokens, page_start, page_lo, page_hi, block_lo, tile_first, tile_last,
    piece_block, piece_first, piece_mixed, piece_last, piece_partial,
    stride_q, stride_qh, stride_k, stride_kh, stride_v, stride_vh, scale, window, softcap,
    G: tl.constexpr, D: tl.constexpr, PAGE: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr, SINKS: tl.constexpr,
):  # fmt: skip
    """Grid (splits of all rows, Hkv): one split of one row."""
    piece = tl.program_id(0)
    head = tl.program_id(1)
    num_kv_heads = tl.num_programs(1)
    first = tl.load(piece_first + piece)
    last = tl.load(piece_last + piece)
    if first < last:
        row = tl.load(block_lo + tl.load(piece_block + piece))
        acc, top, total = attend_tiles(
            q, k, v, row, row + 1, head, first, tl.load(piece_mixed + piece), last, row_position, page, page_tokens,
            page_start, page_lo, page_hi, tile_first, tile_last, stride_q, stride_qh, stride_k, stride_kh, stride_v,
            stride_vh, scale, window, softcap, G, D, PAGE, BLOCK_M, BLOCK_N, BLOCK_D, WINDOW, SOFTCAP,
        )  # fmt: skip
        i = tl.arange(0, BLOCK_M)
        partial = tl.load(piece_partial + piece)
        if partial < 0:
            store_result(out, lse, sinks, acc, top, total, i, row, row + 1, head, num_kv_heads, G, D, BLOCK_D, SINKS)
        else:
            first_partial = (partial * num_kv_heads + head).to(tl.int64) * BLOCK_M
            store_partial(partial_out, partial_lse, acc, top, total, first_partial, i < G, D, BLOCK_M, BLOCK_D)


class Sequence:
    """Attention of one plan, row by row. Interface as TreeDecode."""

    def __init__(
        self,
        plan: Plan,
        *,
        num_heads: int,
        num_kv_heads: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device | str,
        windows: tuple[int | None, ...] = (None,),
        piece_tiles: int | None = None,
        tile: Tile | None = None,
    ) -> None:
        self._group_size = num_heads // num_kv_heads
        self._num_kv_heads = num_kv_heads
        self._page_size = plan.page_size
        self.tile = tile or choose_tile(self._group_size, head_dim, dtype, arch_of(device))
        tile_tokens = self.tile.block_n
        tiles = int((plan.row_position + 1).sum()) // tile_tokens + plan.num_rows
        # Four programs a processor keep it busy; a split shorter than 256 tokens costs more to merge than it saves.
        self._piece_tiles = piece_tiles or max(256 // tile_tokens, tiles * num_kv_heads // (4 * programs(device)))
        self.work = PlannedWork(plan, self._cut, windows, device)
        rows = max(work.capacity.partials for work in self.work.device.values()) * num_kv_heads * self.tile.block_m
        self._partial_out = torch.empty(rows, head_dim, dtype=torch.float32, device=device)
        self._partial_lse = torch.empty(rows, dtype=torch.float32, device=device)

    def __call__(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, options: AttentionOptions
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shapes and meaning as in `PlannedAttention`; k and v may have any slot and head strides."""
        check_layout(q, k, v)
        work, tile, head_dim = self.work.device[options.window], self.tile, q.shape[2]
        out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
        lse = torch.empty(q.shape[:2], dtype=torch.float32, device=q.device)
        partials = (self._partial_out, self._partial_lse)
        sink_logits = lse if options.sinks is None else options.sinks.float()
        sequence_kernel[(work.capacity.pieces, self._num_kv_heads)](
            *(q, k, v, out, lse, *partials, sink_logits),
            *work.arrays("row_position", "page", "page_tokens", "page_start", "page_lo", "page_hi"),
            *work.arrays("block_lo", "tile_first", "tile_last"),
            *work.arrays("piece_block", "piece_first", "piece_mixed", "piece_last", "piece_partial"),
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
            SINKS=options.sinks is not None,
            **tile.options(),
        )
        merge_kernel[(work.capacity.merges, tile.block_m // MERGE_M, self._num_kv_heads)](
            *(*partials, out, lse, sink_logits),
            *work.arrays("block_lo", "block_hi", "merge_block", "merge_partial"),
            G=self._group_size,
            D=head_dim,
            BLOCK_M=tile.block_m,
            MERGE_M=MERGE_M,
            BLOCK_D=block_d(head_dim),
            SINKS=options.sinks is not None,
            num_warps=4,
        )
        return out, lse

    def _cut(self, plan: Plan, window: int | None) -> Work:
        return make_work(
            plan,
            block_rows=1,
            tile_pages=self.tile.block_n // plan.page_size,
            piece_tiles=self._piece_tiles,
            window=window,
        )
