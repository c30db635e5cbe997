"""Tree attention for steps of many rows: one program a row block and KV head, longest first, no partial results.

Prefill, appended thoughts and wide token trees bring enough row blocks to fill a device; splitting their KV would only
add traffic. Causality inside a node is the plan's own rule, and a block reads no page after its last row.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from treereason.kernels.gpu.device_work import PlannedWork
from treereason.kernels.gpu.tile import Tile, arch_of, attend_tiles, block_d, check_layout, choose_tile, store_result
from treereason.kernels.gpu.work import Work, make_work, widest_tree
from treereason.kernels.options import AttentionOptions
from treereason.kernels.plan import Plan


@triton.jit  # type: ignore[untyped-decorator]
def tree_extend_kernel(  # type: ignore[no-untyped-def]
    q, k, v, out, lse, sinks,
    row_position, page, page_tokens, page_start, page_lo, page_hi, block_lo, block_hi, tile_first, tile_last,
    piece_block, piece_first, piece_mixed, piece_last,
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
        block = tl.load(piece_block + piece)
        row_lo = tl.load(block_lo + block)
        row_hi = tl.minimum(tl.load(block_hi + block), row_lo + BLOCK_M // G)
        acc, top, total = attend_tiles(
            q, k, v, row_lo, row_hi, head, first, tl.load(piece_mixed + piece), last, row_position, page, page_tokens,
            page_start, page_lo, page_hi, tile_first, tile_last, stride_q, stride_qh, stride_k, stride_kh, stride_v,
            stride_vh, scale, window, softcap, G, D, PAGE, BLOCK_M, BLOCK_N, BLOCK_D, WINDOW, SOFTCAP,
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
        *,
        num_heads: int,
        num_kv_heads: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device | str,
        windows: tuple[int | None, ...] = (None,),
        tile: Tile | None = None,
    ) -> None:
        self._group_size = num_heads // num_kv_heads
        self._num_kv_heads = num_kv_heads
        self._page_size = plan.page_size
        self.tile = tile or choose_tile(widest_tree(plan) * self._group_size, head_dim, dtype, arch_of(device))
        self.work = PlannedWork(plan, self._cut, windows, device)

    def __call__(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, options: AttentionOptions
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shapes and meaning as in `PlannedAttention`; k and v may have any slot and head strides."""
        check_layout(q, k, v)
        work, tile, head_dim = self.work.device[options.window], self.tile, q.shape[2]
        out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
        lse = torch.empty(q.shape[:2], dtype=torch.float32, device=q.device)
        tree_extend_kernel[(self._num_kv_heads, work.capacity.pieces)](
            *(q, k, v, out, lse, lse if options.sinks is None else options.sinks.float()),
            *work.arrays("row_position", "page", "page_tokens", "page_start", "page_lo", "page_hi"),
            *work.arrays("block_lo", "block_hi", "tile_first", "tile_last"),
            *work.arrays("piece_block", "piece_first", "piece_mixed", "piece_last"),
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
        return out, lse

    def _cut(self, plan: Plan, window: int | None) -> Work:
        return make_work(
            plan,
            block_rows=self.tile.rows(self._group_size),
            tile_pages=self.tile.block_n // plan.page_size,
            window=window,
        )
