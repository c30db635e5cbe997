"""Tree attention as one persistent launch over equal-cost spans of KV tiles, and one small launch that merges.

Each KV page is read once for all rows of a block; a block that several spans share leaves one partial result per piece,
folded afterwards in the order of the pieces (LeanAttention, arXiv 2405.10480). No atomics and no order that depends on
timing: equal plans give equal bits.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from treereason.kernels.gpu.device_work import Capacity, PlannedWork
from treereason.kernels.gpu.launch import Launcher
from treereason.kernels.gpu.make_work import make_work
from treereason.kernels.gpu.merge import merge_partials
from treereason.kernels.gpu.row_blocks import widest_tree
from treereason.kernels.gpu.tile import Tile, arch_of, attend_tiles, choose_tile, programs, store_partial, store_result
from treereason.kernels.gpu.work import Work
from treereason.kernels.layer import LayerShape
from treereason.kernels.options import AttentionOptions
from treereason.kernels.plan import Plan


@triton.jit  # type: ignore[untyped-decorator]
def tree_decode_kernel(  # type: ignore[no-untyped-def]
    q, k, v, out, lse, partial_out, partial_lse, sinks,
    row_position, page_slot, page_seen, page_start,
    piece_lo, piece_hi, piece_first, piece_mixed, piece_last, piece_partial, span_piece,
    stride_q, stride_qh, stride_k, stride_kh, stride_v, stride_vh, scale, window, softcap,
    G: tl.constexpr, D: tl.constexpr, PAGE: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr, SINKS: tl.constexpr,
):  # fmt: skip
    """Grid (Hkv, spans): where the last spans are empty, the others spread evenly over the processors.

    partial_out [partials, Hkv, BLOCK_M, D] and partial_lse [partials, Hkv, BLOCK_M], base 2.
    """
    head = tl.program_id(0)
    num_kv_heads = tl.num_programs(0)
    span = tl.program_id(1)
    i = tl.arange(0, BLOCK_M)
    for piece in range(tl.load(span_piece + span), tl.load(span_piece + span + 1)):
        row_lo = tl.load(piece_lo + piece)
        row_hi = tl.load(piece_hi + piece)
        partial = tl.load(piece_partial + piece)
        acc, top, total = attend_tiles(
            q, k, v, row_lo, row_hi, head, tl.load(piece_first + piece), tl.load(piece_mixed + piece),
            tl.load(piece_last + piece), row_position, page_slot, page_seen, page_start, stride_q, stride_qh, stride_k,
            stride_kh, stride_v, stride_vh, scale, window, softcap, G, D, PAGE, BLOCK_M, BLOCK_N, BLOCK_D, WINDOW,
            SOFTCAP,
        )  # fmt: skip
        if partial < 0:
            store_result(out, lse, sinks, acc, top, total, i, row_lo, row_hi, head, num_kv_heads, G, D, BLOCK_D, SINKS)
        else:
            first_partial = (partial * num_kv_heads + head) * BLOCK_M
            real = (row_lo * G + i) // G < row_hi
            store_partial(partial_out, partial_lse, acc, top, total, first_partial, real, D, BLOCK_M, BLOCK_D)


class TreeDecode:
    """A forest's attention for one shape of model: plan again with `work.load`, move one token with `work.advance`.

    Buffers, grids and compiled kernels stay the same while a plan fits the capacity (never below `least`), so a CUDA
    graph that captured a call may be replayed after either. With `least`, q may have more rows than the plan: out is 0
    there, and lse undefined. Nothing here waits for the device, but for the copy of the plan before.
    """

    def __init__(
        self,
        plan: Plan,
        shape: LayerShape,
        device: torch.device | str,
        *,
        windows: tuple[int | None, ...] = (None,),
        num_spans: int | None = None,
        tile: Tile | None = None,
        least: Capacity | None = None,
    ) -> None:
        """windows: every window that options will ask for. num_spans: programs per KV head; None for two programs per
        processor over all heads, or one where there is little to do. tile: None for the smallest that holds the widest
        tree.

        Raises ValueError where the query heads of a KV head do not fit the tile.
        """
        self._shape = shape
        self._arch = arch_of(device)
        self._few_spans = num_spans or max(1, programs(device) // shape.num_kv_heads)
        self._num_spans = num_spans or max(1, 2 * programs(device) // shape.num_kv_heads)
        self.tile = tile or self._choose(plan)
        self._launcher = Launcher(shape, plan.page_size, self.tile)
        self._padded = least is not None
        self.work = PlannedWork(plan, self._cut, windows, device, least)

    def __call__(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, options: AttentionOptions
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shapes and meaning as in `PlannedAttention`; k and v may have any slot and head strides."""
        work = self.work.device[options.window]
        call = self._launcher.bind(
            q, k, v, options, work.tensors, num_partials=work.capacity.partials, padded=self._padded
        )
        call.launch(tree_decode_kernel, (self._shape.num_kv_heads, work.capacity.spans), **self.tile.options())
        merge_partials(call, work.capacity.merges)
        return call.out, call.lse

    def suits(self, plan: Plan) -> bool:
        """Whether the query tile is as wide as the plan's widest tree asks for."""
        return self._choose(plan).block_m <= self.tile.block_m

    def _choose(self, plan: Plan) -> Tile:
        num_query_rows = widest_tree(plan) * self._shape.group_size
        return choose_tile(num_query_rows, self._shape.head_dim, self._shape.dtype, self._arch)

    def _cut(self, plan: Plan, window: int | None) -> Work:
        return make_work(
            plan,
            block_rows=self.tile.rows(self._shape.group_size),
            tile_pages=self.tile.pages(plan.page_size),
            num_spans=self._num_spans,
            few_spans=self._few_spans,
            window=window,
        )
