"""Bytes that an attention step moves, by variant, and the least it could take.

Counted from the same arrays the kernels read, not estimated. One part is a model: which of the KV bytes that programs
load come from memory. All programs are taken to start together and to move one KV tile at a time; a page read again
before `cache_bytes` of other KV went by is served by the cache.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from treereason.kernels.baselines.groups import Groups
from treereason.kernels.gpu.ragged import rank
from treereason.kernels.gpu.work import Work, stored_tokens
from treereason.kernels.layer import LayerShape
from treereason.kernels.plan import Int32, Plan

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Traffic:
    """Bytes of one attention call.

    kv: keys and values from memory. kv_loaded: what programs asked for, the cache's share included.
    queries, out: read and written. partials: written; the merge reads as many again. plan: index arrays.
    """

    kv: int
    kv_loaded: int
    queries: int
    out: int
    partials: int
    plan: int

    @property
    def total(self) -> int:
        """Bytes from and to memory, partial results counted twice."""
        return self.kv + self.queries + self.out + 2 * self.partials + self.plan


def floor_seconds(plan: Plan, shape: LayerShape, *, bandwidth: float, rate: float) -> float:
    """The least time: every visible token read once and every row's queries and outputs, or the arithmetic.

    Returns seconds. bandwidth: bytes per second. rate: floating-point operations per second.
    """
    data = plan.kv_tokens_read_tree * shape.kv_token_bytes + 2 * plan.num_rows * shape.row_bytes
    return max(data / bandwidth, flops(plan, shape) / rate)


def flops(plan: Plan, shape: LayerShape) -> int:
    """Multiplications and additions of both products, for every pair of a row and a token it sees."""
    return 4 * shape.num_heads * shape.head_dim * int((plan.row_position.astype(np.int64) + 1).sum())


def work_traffic(work: Work, shape: LayerShape, *, programs: int, cache_bytes: int = 32 << 20) -> Traffic:
    """Of tree_decode, tree_extend and sequence. programs: how many run at once, over all heads."""
    rows = work.piece_hi - work.piece_lo
    length = work.piece_last - work.piece_first
    if work.num_spans:
        span = np.repeat(np.arange(work.num_spans), np.diff(work.span_piece))
        start = work.piece_first - work.piece_first[work.span_piece[:-1][span]]
    else:
        start = _starts(length, programs // shape.num_kv_heads)
    tile = np.repeat(work.piece_first, length) + rank(length)
    moment = np.repeat(start, length) + rank(length)
    kv, loaded = _kv(work.page_slot, work.page_seen, work.num_tiles, tile, moment, shape, cache_bytes)
    arrays = [array for array in vars(work).values() if isinstance(array, np.ndarray)]
    return Traffic(
        kv=kv,
        kv_loaded=loaded,
        queries=int(rows.sum()) * shape.row_bytes,
        out=_out(len(work.row_position), shape),
        partials=int(rows[work.piece_partial >= 0].sum()) * shape.partial_row_bytes,
        plan=sum(array.nbytes for array in arrays),
    )


def groups_traffic(
    plan: Plan, groups: Groups, shape: LayerShape, *, programs: int, cache_bytes: int = 32 << 20
) -> Traffic:
    """Of the DeFT variants."""
    rows = int((groups.group_hi - groups.group_lo).sum())
    length = groups.group_last - groups.group_first
    tile = np.arange(length.sum(), dtype=np.int32)
    moment = np.repeat(_starts(length, programs // shape.num_kv_heads), length) + rank(length)
    kv, loaded = _kv(groups.page_slot, groups.page_seen, len(tile), tile, moment, shape, cache_bytes)
    return Traffic(
        kv=kv,
        kv_loaded=loaded,
        queries=rows * shape.row_bytes,
        out=_out(plan.num_rows, shape),
        partials=rows * shape.partial_row_bytes,
        plan=sum(a.nbytes for a in (*vars(groups).values(), plan.row_position)),
    )


def _out(rows: int, shape: LayerShape) -> int:
    return rows * (shape.row_bytes + shape.num_heads * 4)


def _starts(length: Int32, num_programs: int) -> Int64:
    """When each piece starts, in tiles, if pieces are handed out in order to `num_programs` programs."""
    free = [0] * max(1, num_programs)
    start = np.empty(len(length), dtype=np.int64)
    for piece, tiles in enumerate(length.tolist()):
        start[piece] = free[0]
        heapq.heapreplace(free, free[0] + tiles)
    return start


def _kv(
    page_slot: Int32,
    page_seen: Int32,
    num_tiles: int,
    tile: Int32,
    moment: npt.NDArray[np.integer],
    shape: LayerShape,
    cache_bytes: int,
) -> tuple[int, int]:
    """(bytes from memory, bytes loaded) when each of `tile` is read at its moment; a spare tile ends both arrays."""
    pages = page_slot.reshape(num_tiles + 1, -1)[tile]
    tokens = stored_tokens(page_seen).reshape(num_tiles + 1, -1)[tile].reshape(-1).astype(np.int64)
    when = np.repeat(moment, pages.shape[1])
    page = pages.reshape(-1)
    loaded = int(tokens.sum()) * shape.kv_token_bytes
    order = np.lexsort((when, page))
    gap = np.diff(when[order], prepend=0)
    again = np.concatenate([[False], np.diff(page[order]) == 0])
    a_moment = loaded / (int(moment.max()) + 1)  # bytes that all programs together load meanwhile
    cached = again & (gap * a_moment <= cache_bytes)
    return int(tokens[order][~cached].sum()) * shape.kv_token_bytes, loaded
