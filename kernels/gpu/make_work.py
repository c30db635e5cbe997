"""Cuts a plan into work: row blocks, KV tiles, and spans of equal cost over a persistent grid.

A page table lists every page of the forest once (page_table.py). A row block is a run of rows that one query tile
holds (row_blocks.py); its tiles are the page-table ranges it sees (ranges.py). All tiles, block after block, are cut
into one span per program (stream-K; LeanAttention, arXiv 2405.10480). A piece is what one span does for one
block: a block in one piece is finished where it is computed, a block in several leaves one partial result per piece,
so that partial results are bounded by twice the grid, not by the tree.

Work is made on fork and prune; in between `Work.advance` moves every branch by one token in place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from treereason.kernels.gpu.page_table import page_table
from treereason.kernels.gpu.ragged import i32, rank, run_starts
from treereason.kernels.gpu.ranges import Ranges, seen_ranges
from treereason.kernels.gpu.row_blocks import Int64, row_blocks, shared_tokens
from treereason.kernels.gpu.work import Work
from treereason.kernels.plan import Int32, Plan

# Starting and finishing a piece costs about this many tiles: a query load, a normalisation, an output store.
PIECE_COST = 2


def make_work(
    plan: Plan,
    *,
    block_rows: int,
    tile_pages: int,
    num_spans: int | None = None,
    piece_tiles: int | None = None,
    window: int | None = None,
) -> Work:
    """Cuts a plan for query tiles of `block_rows` rows and KV tiles of `tile_pages` pages.

    num_spans: programs of a persistent grid that share the tiles evenly. None: every block is one piece, or as many as
    `piece_tiles` tiles each make it, longest first, and every piece has a program of its own.
    Pages that `window` hides from a whole block are left out.
    """
    shared = shared_tokens(plan)
    edges = row_blocks(shared, block_rows)
    num_blocks = len(edges) - 1
    tiles = seen_ranges(plan, edges, window).tiles(tile_pages)
    if num_spans is None:
        part = _equal_parts(tiles.block, num_blocks, piece_tiles)
    else:
        part = _equal_spans(tiles.block, num_blocks, _lockstep(num_spans, edges, shared))
    pieces = _pieces(tiles, part)
    merges = _merges(pieces.block, num_blocks)
    order, span_piece = _schedule(pieces, num_spans)
    row_page, row_last_page = _row_entries(plan)
    return Work(
        row_position=plan.row_position.copy(),
        row_slot=plan.row_slot.copy(),
        **vars(page_table(plan)),
        row_page=row_page,
        row_last_page=row_last_page,
        block_lo=edges[:-1],
        block_hi=edges[1:],
        tile_first=tiles.first,
        tile_last=tiles.last,
        piece_block=pieces.block[order],
        piece_first=pieces.first[order],
        piece_mixed=pieces.mixed[order],
        piece_last=pieces.last[order],
        piece_partial=merges.piece_partial[order],
        span_piece=span_piece,
        merge_block=merges.merge_block,
        merge_partial=merges.merge_partial,
        page_size=plan.page_size,
    )


def _equal_parts(tile_block: Int32, num_blocks: int, piece_tiles: int | None) -> Int32:
    """[T] part of its block that a tile belongs to: parts of `piece_tiles` tiles, or one part."""
    tiles_of_block = i32(np.bincount(tile_block, minlength=num_blocks))
    return rank(tiles_of_block) // (piece_tiles or len(tile_block))


def _equal_spans(tile_block: Int32, num_blocks: int, num_spans: int) -> Int32:
    """[T] the span of each tile: equal cost, but a cut near the end of a block moves there and splits nothing."""
    cost = np.arange(len(tile_block)) + PIECE_COST * (tile_block + 1)
    total = len(tile_block) + PIECE_COST * num_blocks
    cuts = total * np.arange(1, num_spans) / num_spans
    last_tile = np.append(np.flatnonzero(np.diff(tile_block)), len(tile_block) - 1)
    ends = np.append(0, cost[last_tile] + 1)
    after = np.searchsorted(ends, cuts)
    nearest = np.where(ends[after] - cuts < cuts - ends[after - 1], ends[after], ends[after - 1])
    cuts = np.where(np.abs(nearest - cuts) <= max(PIECE_COST, total / num_spans / 16), nearest, cuts)
    return np.searchsorted(cuts, cost, side="right").astype(np.int32)


def _lockstep(num_spans: int, edges: Int32, shared: Int64) -> int:
    """Fewer spans when the blocks of one tree then move over its shared tokens together, within an eighth.

    Programs that read the same pages at the same time read memory once: the others are served by the L2 cache. The
    rest of the grid stays empty.
    """
    most = int(np.diff(np.flatnonzero(shared[edges] == 0)).max())
    fewer = num_spans - num_spans % most if most <= num_spans else num_spans
    return fewer if fewer * 8 >= num_spans * 7 else num_spans


@dataclass(frozen=True)
class _Pieces:
    """In the order of their tiles, [E] int32 each. part: the span, or the part of its block, that the piece is.

    Tiles [first, mixed) of the block need no mask, [mixed, last) do.
    """

    part: Int32
    block: Int32
    first: Int32
    mixed: Int32
    last: Int32


def _pieces(tiles: Ranges, part: Int32) -> _Pieces:
    """Cut where the part or the block changes. part: [T]."""
    first = run_starts((np.diff(part) != 0) | (np.diff(tiles.block) != 0))
    last = i32(first[1:], [len(part)])
    num_unmasked = i32([0], np.cumsum(~tiles.mixed))  # these come first in a block, so also in a piece
    mixed = first + num_unmasked[last] - num_unmasked[first]
    return _Pieces(part[first], tiles.block[first], first, mixed, last)


@dataclass(frozen=True)
class _Merges:
    """piece_partial: [E]. merge_block: [M]. merge_partial: [M + 1]. Meaning as in Work."""

    piece_partial: Int32
    merge_block: Int32
    merge_partial: Int32


def _merges(piece_block: Int32, num_blocks: int) -> _Merges:
    """Partial results of the blocks that are cut in several pieces, numbered in the order of the pieces."""
    pieces_of_block = np.bincount(piece_block, minlength=num_blocks)
    split = pieces_of_block > 1
    leaves = split[piece_block]
    return _Merges(
        piece_partial=np.where(leaves, np.cumsum(leaves) - 1, -1).astype(np.int32),
        merge_block=np.flatnonzero(split).astype(np.int32),
        merge_partial=i32([0], np.cumsum(pieces_of_block[split])),
    )


def _schedule(pieces: _Pieces, num_spans: int | None) -> tuple[Int64, Int32]:
    """Order in which the pieces are listed, [E], and span_piece, [S + 1]: longest first where there are no spans."""
    if num_spans is None:
        return np.argsort(pieces.first - pieces.last, kind="stable"), np.zeros(1, dtype=np.int32)
    return np.arange(len(pieces.first)), np.searchsorted(pieces.part, np.arange(num_spans + 1)).astype(np.int32)


def _row_entries(plan: Plan) -> tuple[Int32, Int32]:
    """(row_page, row_last_page), [N] each: the page-table entry of the row's token, and the last one of its node."""
    own = plan.node_hi > plan.node_lo
    nodes = np.flatnonzero(own).astype(np.int32)
    # The owner starts where its own first row lies; nodes without new tokens start there too but come earlier.
    last = np.searchsorted(plan.node_lo[nodes], np.arange(plan.num_rows, dtype=np.int32), side="right") - 1
    node = nodes[last]
    row_page = plan.node_page[node] + (plan.row_position - plan.node_start[node]) // plan.page_size
    return row_page, plan.node_page[1:][node] - 1
