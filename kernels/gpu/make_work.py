"""Cuts a plan into work: row blocks, KV tiles, and spans of equal cost over a persistent grid.

A row block is a run of rows that one query tile holds (row_blocks.py); its tiles are the pages it sees
(seen_pages.py, tiles.py). All tiles, block after block, are cut into one span per program (stream-K; LeanAttention,
arXiv 2405.10480). A piece is what one span does for one block: a block in one piece is finished where it is computed,
a block in several leaves one partial result per piece, so that partial results are bounded by twice the grid, not by
the tree.

Work is made on fork and prune; in between `Work.advance` moves every branch by one token in place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from treereason.kernels.gpu.page_table import page_table
from treereason.kernels.gpu.ragged import i32, rank, run_starts
from treereason.kernels.gpu.row_blocks import Int64, row_blocks, shared_tokens
from treereason.kernels.gpu.seen_pages import SeenPages, seen_pages
from treereason.kernels.gpu.tiles import Tiles, lay_tiles
from treereason.kernels.gpu.work import Work
from treereason.kernels.plan import Int32, Plan

# Starting and finishing a piece costs about this many tiles: a query load, a normalisation, an output store.
PIECE_COST = 2
# Below, a second program on a processor gains less than its partial results cost to merge (docs/kernels.md).
SPAN_TILES = 8
# To merge the partial results of split blocks takes about as long as this many tiles.
SPLIT_COST = 8


def make_work(
    plan: Plan,
    *,
    block_rows: int,
    tile_pages: int,
    num_spans: int | None = None,
    few_spans: int | None = None,
    piece_tiles: int | None = None,
    window: int | None = None,
) -> Work:
    """Cuts a plan for query tiles of `block_rows` rows and KV tiles of `tile_pages` pages.

    num_spans: programs of a persistent grid that share the tiles evenly; only the first `few_spans` do where otherwise
    each had fewer than SPAN_TILES. None: every block is one piece, or as many as `piece_tiles` tiles each make it,
    longest first, and every piece has a program of its own.
    Pages that `window` hides from a whole block are left out.
    """
    shared = shared_tokens(plan)
    edges = row_blocks(shared, block_rows)
    lo, hi = edges[:-1], edges[1:]
    owner = _owners(plan)
    seen = seen_pages(plan, edges, owner, window)
    tiles = lay_tiles(seen, lo, hi, page_table(plan), tile_pages=tile_pages)
    tile_block = np.repeat(np.arange(len(lo), dtype=np.int32), tiles.last - tiles.first)
    if num_spans is None:
        part = _equal_parts(tile_block, len(lo), piece_tiles)
    elif (whole := _whole_blocks(tile_block, len(lo), num_spans)) is not None:
        part = whole
    else:
        some = few_spans if few_spans is not None and len(tile_block) < SPAN_TILES * num_spans else num_spans
        part = _equal_spans(tile_block, len(lo), _lockstep(some, edges, shared))
    pieces = _pieces(tiles, tile_block, part)
    merges = _merges(pieces.block, len(lo))
    order, span_piece = _schedule(pieces, num_spans)
    # Row by row, the places in its block of its node's pages: the one in use, and the last one.
    in_node = (plan.row_position - plan.node_start[owner] + plan.node_offset[owner]) // plan.page_size
    num_later = np.diff(plan.node_page)[owner] - 1 - in_node
    row_page = _places(seen, tiles, np.repeat(np.arange(len(lo)), hi - lo), plan.node_page[owner] + in_node)
    return Work(
        row_position=plan.row_position.copy(),
        row_slot=plan.row_slot.copy(),
        page_slot=tiles.page_slot,
        page_seen=tiles.page_seen,
        page_start=tiles.page_start,
        row_page=row_page,
        row_last_page=row_page + num_later,
        piece_lo=lo[pieces.block[order]],
        piece_hi=hi[pieces.block[order]],
        piece_first=pieces.first[order],
        piece_mixed=pieces.mixed[order],
        piece_last=pieces.last[order],
        piece_partial=merges.piece_partial[order],
        span_piece=span_piece,
        merge_count=i32([len(merges.block)]),
        merge_lo=lo[merges.block],
        merge_hi=hi[merges.block],
        merge_partial=merges.partial,
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
    last_tile = np.append(np.flatnonzero(np.diff(tile_block)), len(tile_block) - 1)
    ends = np.append(0, cost[last_tile] + 1)
    cuts = total * np.arange(1, num_spans) / num_spans
    after = np.searchsorted(ends, cuts)
    nearest = np.where(ends[after] - cuts < cuts - ends[after - 1], ends[after], ends[after - 1])
    cuts = np.where(np.abs(nearest - cuts) <= max(PIECE_COST, total / num_spans / 16), nearest, cuts)
    return np.searchsorted(cuts, cost, side="right").astype(np.int32)


def _whole_blocks(tile_block: Int32, num_blocks: int, num_spans: int) -> Int32 | None:
    """[T] the span of each tile when no block is split; None where some span costs SPLIT_COST more than its share.

    Blocks are dealt out in turn, so that neighbours, which are of one tree, run at the same time and read from memory
    once what they share.
    """
    costs = np.bincount(tile_block, minlength=num_blocks) + PIECE_COST
    rounds = -(-num_blocks // num_spans)
    span = np.arange(num_blocks, dtype=np.int32) % -(-num_blocks // rounds)
    share = costs.sum() / num_spans
    return span[tile_block] if np.bincount(span, weights=costs).max() <= share + SPLIT_COST else None


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

    Tiles [first, mixed) need no mask, [mixed, last) do.
    """

    part: Int32
    block: Int32
    first: Int32
    mixed: Int32
    last: Int32


def _pieces(tiles: Tiles, tile_block: Int32, part: Int32) -> _Pieces:
    """Cut where the part or the block changes. tile_block, part: [T]."""
    first = run_starts((np.diff(part) != 0) | (np.diff(tile_block) != 0))
    last = i32(first[1:], [len(part)])
    block = tile_block[first]
    return _Pieces(part[first], block, first, np.clip(tiles.mixed[block], first, last), last)


@dataclass(frozen=True)
class _Merges:
    """piece_partial: [E] as in Work. block: [M] those in several pieces. partial: [M + 1] their partial results."""

    piece_partial: Int32
    block: Int32
    partial: Int32


def _merges(piece_block: Int32, num_blocks: int) -> _Merges:
    """Partial results of the blocks that are cut in several pieces, numbered in the order of the pieces."""
    pieces_of_block = np.bincount(piece_block, minlength=num_blocks)
    split = pieces_of_block > 1
    leaves = split[piece_block]
    return _Merges(
        piece_partial=np.where(leaves, np.cumsum(leaves) - 1, -1).astype(np.int32),
        block=np.flatnonzero(split).astype(np.int32),
        partial=i32([0], np.cumsum(pieces_of_block[split])),
    )


def _schedule(pieces: _Pieces, num_spans: int | None) -> tuple[Int64, Int32]:
    """Order in which the pieces are listed, [E], and span_piece, [S + 1]: longest first where there are no spans."""
    if num_spans is None:
        return np.argsort(pieces.first - pieces.last, kind="stable"), np.zeros(1, dtype=np.int32)
    order = np.argsort(pieces.part, kind="stable")
    return order, np.searchsorted(pieces.part[order], np.arange(num_spans + 1)).astype(np.int32)


def _owners(plan: Plan) -> Int32:
    """[N] the node that holds the row's own token."""
    nodes = np.flatnonzero(plan.node_hi > plan.node_lo).astype(np.int32)
    # Of all rows that see an owner the first one is its own, and lies in it; the first of others lies below them.
    in_it = plan.row_position[plan.node_lo[nodes]] < plan.node_start[nodes] + plan.node_tokens[nodes]
    owners = nodes[in_it]
    owners = owners[np.argsort(plan.node_lo[owners], kind="stable")]
    return owners[np.searchsorted(plan.node_lo[owners], np.arange(plan.num_rows, dtype=np.int32), side="right") - 1]


def _places(seen: SeenPages, tiles: Tiles, block: Int64, entry: Int32) -> Int32:
    """[N] where page-table entries lie among a block's pages, one entry and block a row."""
    most = int(seen.entry.max()) + 1
    listed = seen.block.astype(np.int64) * most + seen.entry  # ascending
    return tiles.place[np.searchsorted(listed, block.astype(np.int64) * most + entry)]
