"""Tree attention as one persistent launch over equal-cost spans of KV tiles, and one small launch that merges.

Each KV page is read once for all rows of a block; a block that several spans share leaves one partial result a piece,
folded afterwards in piece order. No atomics and no order that depends on timing: equal plans give equal bits.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from treereason.kernels.device_work import Capacity, DeviceWork
from treereason.kernels.plan import Plan
from treereason.kernels.tile import LN2, Tile, attend, block_d, choose_tile, join_sink, merge, normalise, query_tile
from treereason.kernels.work import Work, make_work

MERGE_M = 16


@triton.jit
def tree_decode_kernel(
    q, k, v, out, lse, partial_out, partial_lse, sinks,
    row_positions, page, page_tokens, page_start, page_lo, page_hi, block_lo, block_hi, tile_first, tile_last,
    piece_block, piece_first, piece_mixed, piece_last, piece_slot, span_piece,
    stride_q, stride_qh, stride_k, stride_kh, stride_v, stride_vh, scale, window, softcap,
    G: tl.constexpr, D: tl.constexpr, PAGE: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr, SINKS: tl.constexpr,
):  # fmt: skip
    """Grid (spans, Hkv). partial_out [slots, Hkv, BLOCK_M, D] and partial_lse [slots, Hkv, BLOCK_M], float32, base 2."""
    head = tl.program_id(1)
    num_heads = tl.num_programs(1)
    k += head.to(tl.int64) * stride_kh
    v += head.to(tl.int64) * stride_vh
    i = tl.arange(0, BLOCK_M)
    d = tl.arange(0, BLOCK_D)
    for piece in range(tl.load(span_piece + tl.program_id(0)), tl.load(span_piece + tl.program_id(0) + 1)):
        block = tl.load(piece_block + piece)
        row_lo = tl.load(block_lo + block)
        row_hi = tl.minimum(tl.load(block_hi + block), row_lo + BLOCK_M // G)
        row = row_lo + i // G
        queries = query_tile(q, row_lo, row_hi, head, stride_q, stride_qh, G, D, BLOCK_M, BLOCK_D)
        row_position = tl.load(row_positions + row, mask=row < row_hi, other=0)
        top = tl.full([BLOCK_M], float("-inf"), tl.float32)
        total = tl.zeros([BLOCK_M], tl.float32)
        acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
        first = tl.load(piece_first + piece)
        mixed = tl.load(piece_mixed + piece)
        last = tl.load(piece_last + piece)
        for tile in range(first, mixed):
            acc, top, total = attend(
                acc, top, total, queries, k, v, stride_k, stride_v, tl.load(tile_first + tile),
                tl.load(tile_last + tile), page, page_tokens, page_start, page_lo, page_hi, row, row_position, scale,
                window, softcap, D, PAGE, BLOCK_N, BLOCK_D, False, WINDOW, SOFTCAP,
            )  # fmt: skip
        for tile in range(mixed, last):
            acc, top, total = attend(
                acc, top, total, queries, k, v, stride_k, stride_v, tl.load(tile_first + tile),
                tl.load(tile_last + tile), page, page_tokens, page_start, page_lo, page_hi, row, row_position, scale,
                window, softcap, D, PAGE, BLOCK_N, BLOCK_D, True, WINDOW, SOFTCAP,
            )  # fmt: skip
        slot = tl.load(piece_slot + piece)
        if SINKS and slot < 0:
            acc, top, total = join_sink(acc, top, total, tl.load(sinks + head * G + i % G).to(tl.float32))
        result, log_total = normalise(acc, top, total)
        real = row < row_hi
        mask = real[:, None] & (d < D)[None, :]
        if slot < 0:
            at = row.to(tl.int64) * (num_heads * G) + head * G + i % G
            tl.store(out + at[:, None] * D + d[None, :], result.to(out.dtype.element_ty), mask=mask)
            tl.store(lse + at, log_total * LN2, mask=real)
        else:
            part = (slot * num_heads + head) * BLOCK_M + i  # bounded by the grid: 32 bits suffice
            tl.store(partial_out + part[:, None] * D + d[None, :], result, mask=mask)
            tl.store(partial_lse + part, log_total, mask=real)


@triton.jit
def merge_kernel(
    partial_out, partial_lse, out, lse, sinks, block_lo, block_hi, merge_block, merge_slot,
    G: tl.constexpr, D: tl.constexpr, BLOCK_M: tl.constexpr, MERGE_M: tl.constexpr, BLOCK_D: tl.constexpr,
    SINKS: tl.constexpr,
):  # fmt: skip
    """Grid (spans, BLOCK_M // MERGE_M, Hkv): MERGE_M tile rows of one split block; programs beyond its rows stop."""
    first = tl.load(merge_slot + tl.program_id(0))
    last = tl.load(merge_slot + tl.program_id(0) + 1)
    head = tl.program_id(2)
    num_heads = tl.num_programs(2)
    i = tl.program_id(1) * MERGE_M + tl.arange(0, MERGE_M)
    d = tl.arange(0, BLOCK_D)
    block = tl.load(merge_block + tl.program_id(0), mask=first < last, other=0)
    row_lo = tl.load(block_lo + block)
    row = row_lo + i // G
    real = (row < tl.load(block_hi + block)) & (i < BLOCK_M // G * G) & (first < last)
    mask = real[:, None] & (d < D)[None, :]
    if first < last:
        top = tl.full([MERGE_M], float("-inf"), tl.float32)
        total = tl.zeros([MERGE_M], tl.float32)
        acc = tl.zeros([MERGE_M, BLOCK_D], tl.float32)
        for slot in range(first, last):
            part = (slot * num_heads + head) * BLOCK_M + i
            part_out = tl.load(partial_out + part[:, None] * D + d[None, :], mask=mask, other=0.0)
            part_lse = tl.load(partial_lse + part, mask=real, other=float("-inf"))
            acc, top, total = merge(acc, top, total, part_out, part_lse)
        if SINKS:
            acc, top, total = join_sink(acc, top, total, tl.load(sinks + head * G + i % G).to(tl.float32))
        result, log_total = normalise(acc, top, total)
        at = row.to(tl.int64) * (num_heads * G) + head * G + i % G
        tl.store(out + at[:, None] * D + d[None, :], result.to(out.dtype.element_ty), mask=mask)
        tl.store(lse + at, log_total * LN2, mask=real)


class TreeDecode:
    """A forest's attention for one shape of model: plan again with `load`, move one token with `advance`.

    Buffers, grids and compiled kernels stay the same while a plan fits the capacity, so a CUDA graph that captured a
    call may be replayed after either. Nothing here waits for the device.
    """

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
        spans: int | None = None,
        tile: Tile | None = None,
    ) -> None:
        self._groups = num_heads // num_kv_heads
        self._num_kv_heads = num_kv_heads
        self._head_dim = head_dim
        self._device = torch.device(device)
        self._spans = spans or default_spans(self._device, num_kv_heads)
        self.tile = tile or choose_tile(plan.num_rows * self._groups, head_dim, dtype)
        if self._groups > self.tile.block_m:
            raise ValueError(f"{self._groups} query heads a KV head do not fit a tile of {self.tile.block_m} rows")
        self._windows = windows
        self._work = {window: self._make_work(plan, window) for window in windows}
        self._device_work = {w: DeviceWork(Capacity.of(work), self._device) for w, work in self._work.items()}
        slots = 2 * self._spans * num_kv_heads * self.tile.block_m
        self._partial_out = torch.empty(slots, head_dim, dtype=torch.float32, device=self._device)
        self._partial_lse = torch.empty(slots, dtype=torch.float32, device=self._device)
        self._copy()

    def load(self, plan: Plan) -> None:
        """A new plan in the same buffers; ValueError when it exceeds them."""
        self._work = {window: self._make_work(plan, window) for window in self._windows}
        self._copy()

    def advance(self) -> None:
        """One more token a branch."""
        for window, work in self._work.items():
            work.advance()
            self._device_work[window].load_advanced(work)

    @property
    def row_slot(self) -> torch.Tensor:
        """[rows of the capacity] KV slots the step's tokens go to; valid up to the plan's rows."""
        return self._device_work[self._windows[0]]["row_slot"]

    def __call__(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        *,
        scale: float,
        window: int | None = None,
        softcap: float | None = None,
        sinks: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shapes and meaning as in `reference_attention`; k and v may have any slot and head strides."""
        work = self._device_work[window]
        tile, groups, head_dim = self.tile, self._groups, self._head_dim
        out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
        lse = torch.empty(q.shape[:2], dtype=torch.float32, device=q.device)
        names = (
            *("row_position", "page", "page_tokens", "page_start", "page_lo", "page_hi", "block_lo", "block_hi"),
            *("tile_first", "tile_last", "piece_block", "piece_first", "piece_mixed", "piece_last", "piece_slot"),
            "span_piece",
        )
        grid = (work.capacity.spans, self._num_kv_heads)
        tree_decode_kernel[grid](
            *(q, k, v, out, lse, self._partial_out, self._partial_lse, sinks if sinks is not None else lse),
            *(work[name] for name in names),
            *(q.stride(0), q.stride(1), k.stride(0), k.stride(1), v.stride(0), v.stride(1)),
            *(scale, window or 0, softcap or 0.0),
            G=groups,
            D=head_dim,
            PAGE=self._work[window].page_size,
            BLOCK_M=tile.block_m,
            BLOCK_N=tile.block_n,
            BLOCK_D=block_d(head_dim),
            WINDOW=window is not None,
            SOFTCAP=softcap is not None,
            SINKS=sinks is not None,
            num_warps=tile.warps,
            num_stages=tile.stages,
        )
        merge_kernel[(grid[0], tile.block_m // MERGE_M, grid[1])](
            *(self._partial_out, self._partial_lse, out, lse, sinks if sinks is not None else lse),
            *(work["block_lo"], work["block_hi"], work["merge_block"], work["merge_slot"]),
            G=groups,
            D=head_dim,
            BLOCK_M=tile.block_m,
            MERGE_M=MERGE_M,
            BLOCK_D=block_d(head_dim),
            SINKS=sinks is not None,
            num_warps=4,
        )
        return out, lse

    def _make_work(self, plan: Plan, window: int | None) -> Work:
        return make_work(
            plan,
            block_rows=self.tile.block_m // self._groups,
            tile_pages=self.tile.block_n // plan.page_size,
            spans=self._spans,
            window=window,
        )

    def _copy(self) -> None:
        for window, work in self._work.items():
            self._device_work[window].load(work)


def default_spans(device: torch.device, num_kv_heads: int) -> int:
    """Programs a KV head, so that all heads together fill the device once."""
    if device.type != "cuda":
        return 4
    processors = torch.cuda.get_device_properties(device).multi_processor_count
    return max(1, processors // num_kv_heads)
