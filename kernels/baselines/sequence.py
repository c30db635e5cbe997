"""The baseline without trees: every row reads its own whole path, as a paged sequence engine would.

An honest one: the path is split over programs (split-KV) until the device is full, and the query heads of a KV head
share a tile, so KV is read once for all of them. What it cannot do is read a shared page once for several rows.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from treereason.kernels.gpu.device_work import PlannedWork
from treereason.kernels.gpu.launch import Launcher
from treereason.kernels.gpu.make_work import make_work
from treereason.kernels.gpu.merge import merge_partials
from treereason.kernels.gpu.tile import Tile, arch_of, attend_tiles, choose_tile, programs, store_partial, store_result
from treereason.kernels.gpu.work import Work
from treereason.kernels.layer import LayerShape
from treereason.kernels.options import AttentionOptions
from treereason.kernels.plan import Plan


@triton.jit  # type: ignore[untyped-decorator]
def sequence_kernel(  # type: ignore[no-untyped-def]
    q, k, v, out, lse, partial_out, partial_lse, sinks,
    row_position, page_slot, page_seen, page_start, piece_lo, piece_first, piece_mixed, piece_last, piece_partial,
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
        row = tl.load(piece_lo + piece)
        acc, top, total = attend_tiles(
            q, k, v, row, row + 1, head, first, tl.load(piece_mixed + piece), last, row_position, page_slot, page_seen,
            page_start, stride_q, stride_qh, stride_k, stride_kh, stride_v, stride_vh, scale, window, softcap, G, D,
            PAGE, BLOCK_M, BLOCK_N, BLOCK_D, WINDOW, SOFTCAP,
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
        shape: LayerShape,
        device: torch.device | str,
        *,
        windows: tuple[int | None, ...] = (None,),
        piece_tiles: int | None = None,
        tile: Tile | None = None,
    ) -> None:
        self.tile = tile or choose_tile(shape.group_size, shape.head_dim, shape.dtype, arch_of(device))
        tile_tokens = self.tile.block_n
        tiles = int((plan.row_position + 1).sum()) // tile_tokens + plan.num_rows
        # Four programs per processor keep it busy; a split shorter than 256 tokens costs more to merge than it saves.
        self._piece_tiles = piece_tiles or max(256 // tile_tokens, tiles * shape.num_kv_heads // (4 * programs(device)))
        self._launcher = Launcher(shape, plan.page_size, self.tile)
        self.work = PlannedWork(plan, self._cut, windows, device)

    def __call__(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, options: AttentionOptions
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shapes and meaning as in `PlannedAttention`; k and v may have any slot and head strides."""
        work = self.work.device[options.window]
        call = self._launcher.bind(q, k, v, options, work.tensors, num_partials=work.capacity.partials)
        grid = (work.capacity.pieces, self._launcher.shape.num_kv_heads)
        call.launch(sequence_kernel, grid, **self.tile.options())
        merge_partials(call, work.capacity.merges)
        return call.out, call.lse

    def _cut(self, plan: Plan, window: int | None) -> Work:
        return make_work(
            plan,
            block_rows=1,
            tile_pages=self.tile.pages(plan.page_size),
            piece_tiles=self._piece_tiles,
            window=window,
        )
