"""Tree attention for steps of many rows: one program per row block and KV head, longest first, no partial results.

Prefill, appended thoughts and wide token trees bring enough row blocks to fill a device; splitting their KV would only
add traffic. Causality inside a node is the plan's own rule, and a block reads no page after its last row.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from treereason.kernels.gpu.device_work import PlannedWork
from treereason.kernels.gpu.launch import Launcher
from treereason.kernels.gpu.make_work import make_work
from treereason.kernels.gpu.row_blocks import widest_tree
from treereason.kernels.gpu.tile import Tile, arch_of, attend_tiles, choose_tile, store_result
from treereason.kernels.gpu.work import Work
from treereason.kernels.layer import LayerShape
from treereason.kernels.options import AttentionOptions
from treereason.kernels.plan import Plan


@triton.jit  # type: ignore[untyped-decorator]
def tree_extend_kernel(  # type: ignore[no-untyped-def]
    q, k, v, out, lse, sinks,
    row_position, page_slot, page_seen, page_start, piece_lo, piece_hi, piece_first, piece_mixed, piece_last,
    stride_q, stride_qh, stride_k, stride_kh, stride_v, stride_vh, scale, window, softcap,
    G: tl.constexpr, D: tl.constexpr, PAGE: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr, SINKS: tl.constexpr,
):  # fmt: skip
    """Grid (Hkv, blocks): heads run fastest, so that neighbours share the plan's pages in cache."""
    head = tl.program_id(0)
    piece = tl.program_id(1)
    first = tl.load(piece_first + piece)
    last = tl.load(piece_last + piece)
    if first < last:
        row_lo = tl.load(piece_lo + piece)
        row_hi = tl.load(piece_hi + piece)
        acc, top, total = attend_tiles(
            q, k, v, row_lo, row_hi, head, first, tl.load(piece_mixed + piece), last, row_position, page_slot,
            page_seen, page_start, stride_q, stride_qh, stride_k, stride_kh, stride_v, stride_vh, scale, window,
            softcap, G, D, PAGE, BLOCK_M, BLOCK_N, BLOCK_D, WINDOW, SOFTCAP,
        )  # fmt: skip
        i = tl.arange(0, BLOCK_M)
        store_result(
            out, lse, sinks, acc, top, total, i, row_lo, row_hi, head, tl.num_programs(0), G, D, BLOCK_D, SINKS
        )


class TreeExtend:
    """Attention of one plan whose row blocks alone fill the device. Interface as TreeDecode."""

    def __init__(
        self,
        plan: Plan,
        shape: LayerShape,
        device: torch.device | str,
        *,
        windows: tuple[int | None, ...] = (None,),
        tile: Tile | None = None,
    ) -> None:
        num_query_rows = widest_tree(plan) * shape.group_size
        self.tile = tile or choose_tile(num_query_rows, shape.head_dim, shape.dtype, arch_of(device))
        self._launcher = Launcher(shape, plan.page_size, self.tile)
        self.work = PlannedWork(plan, self._cut, windows, device)

    def __call__(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, options: AttentionOptions
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shapes and meaning as in `PlannedAttention`; k and v may have any slot and head strides."""
        work = self.work.device[options.window]
        call = self._launcher.bind(q, k, v, options, work.tensors)
        grid = (self._launcher.shape.num_kv_heads, work.capacity.pieces)
        call.launch(tree_extend_kernel, grid, **self.tile.options())
        return call.out, call.lse

    def _cut(self, plan: Plan, window: int | None) -> Work:
        return make_work(
            plan,
            block_rows=self.tile.rows(self._launcher.shape.group_size),
            tile_pages=self.tile.pages(plan.page_size),
            window=window,
        )
