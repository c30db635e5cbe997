"""Work of a plan on a GPU: row blocks, KV tiles, and spans of equal cost over a persistent grid.

A page table lists every page of the forest once, in the plan's order, with the interval and first position of its
node. A row block is a run of rows that one query tile holds; its tiles are the page-table ranges it sees. All tiles,
block after block, are cut into one span a program (stream-K, LeanAttention arXiv 2405.10480). A piece is what one span
does for one block: a block in one piece is finished where it is computed, a block in several leaves one partial result
a piece, so that partial results are bounded by twice the grid, not by the tree.

Built on fork and prune; in between `advance` moves every branch by one token in place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from treereason.kernels.plan import Int32, Plan

Int64 = npt.NDArray[np.int64]

# Starting and finishing a piece costs about this many tiles: a query load, a normalisation, an output store.
PIECE_COST = 2


class NoPageLeft(RuntimeError):
    """A branch has filled the pages that its plan reserved."""


@dataclass(frozen=True)
class Work:
    """Host int32 arrays. N rows, P pages, B blocks, T tiles, E pieces, S spans, M merges.

    row_position, row_slot: [N] as in Plan.
    page, page_tokens, page_start, page_lo, page_hi: [P] page number, tokens stored, position of its first token, rows.
    row_page: [N] page-table entry where the row's token lies.
    row_last_page: [N] last entry its node owns.
    block_lo, block_hi: [B] rows of the block.
    tile_first, tile_last: [T] page-table range of the tile; tiles of a block adjoin, those that need no mask first.
    piece_block: [E]. piece_first, piece_mixed, piece_last: [E] tiles [first, mixed) need no mask, [mixed, last) do.
    piece_partial: [E] where its partial result goes, -1 when the piece is its whole block.
    span_piece: [S + 1] pieces of a span; S is 0 where every piece has a program of its own.
    merge_block: [M], merge_partial: [M + 1] blocks in several pieces, and the partial results to fold, in order.
    """

    row_position: Int32
    row_slot: Int32
    page: Int32
    page_tokens: Int32
    page_start: Int32
    page_lo: Int32
    page_hi: Int32
    row_page: Int32
    row_last_page: Int32
    block_lo: Int32
    block_hi: Int32
    tile_first: Int32
    tile_last: Int32
    piece_block: Int32
    piece_first: Int32
    piece_mixed: Int32
    piece_last: Int32
    piece_partial: Int32
    span_piece: Int32
    merge_block: Int32
    merge_partial: Int32
    page_size: int

    @property
    def num_spans(self) -> int:
        return len(self.span_piece) - 1

    @property
    def num_partials(self) -> int:
        """Partial results written, each of a whole query tile."""
        return int(self.merge_partial[-1])

    def advance(self, row_pages: Int32 | None = None) -> None:
        """One more token for every row, for steps of one row a branch, in the page-table entries the plan reserved.

        row_pages: [N] page of each row's new token, where the plan reserved entries whose page was not known yet.
        Raises NoPageLeft, and changes nothing, when a branch has no entry left: then it is time for a new plan.
        """
        full = self.page_tokens[self.row_page] == self.page_size
        if (full & (self.row_page == self.row_last_page)).any():
            raise NoPageLeft("a branch has filled its reserved pages; plan again")
        self.row_page[:] += full
        if row_pages is not None:
            self.page[self.row_page] = row_pages
        self.row_position[:] += 1
        self.row_slot[:] = self.page[self.row_page] * self.page_size + self.page_tokens[self.row_page]
        self.page_tokens[self.row_page] += 1


def make_work(
    plan: Plan,
    *,
    block_rows: int,
    tile_pages: int,
    spans: int | None = None,
    piece_tiles: int | None = None,
    window: int | None = None,
) -> Work:
    """Cuts a plan for query tiles of `block_rows` rows and KV tiles of `tile_pages` pages.

    spans: programs of a persistent grid that share the tiles evenly. None: every block is one piece, or as many as
    `piece_tiles` tiles each make it, longest first, a program a piece.
    Pages that `window` hides from a whole block are left out.
    """
    page_count = np.diff(plan.node_page)
    shared = shared_tokens(plan)
    edges = row_blocks(shared, block_rows)
    block_lo, block_hi = edges[:-1], edges[1:]
    run_block, run_mixed, run_first, run_last = _runs(plan, page_count, block_lo, block_hi, window)

    tiles_of_run = -(-(run_last - run_first) // tile_pages)
    run = np.repeat(np.arange(len(run_first), dtype=np.int32), tiles_of_run)
    tile_first = run_first[run] + tile_pages * rank(tiles_of_run)
    tile_last = np.minimum(tile_first + tile_pages, run_last[run])
    tile_block = run_block[run]

    num_blocks = len(block_lo)
    if spans is None:
        tile_part = rank(_i32(np.bincount(tile_block, minlength=num_blocks))) // (piece_tiles or len(tile_block))
    else:
        used = _lockstep(spans, edges, shared)  # the rest of the grid stays empty
        tile_part = _spans_of(tile_block, num_blocks, used)
    piece_first = _i32([0], np.flatnonzero((np.diff(tile_part) != 0) | (np.diff(tile_block) != 0)) + 1)
    piece_last = _i32(piece_first[1:], [len(tile_block)])
    piece_block = tile_block[piece_first]
    unmasked = _i32([0], np.cumsum(~run_mixed[run]))  # tiles without mask come first in a block, so also in a piece
    piece_mixed = piece_first + unmasked[piece_last] - unmasked[piece_first]
    pieces_of_block = np.bincount(piece_block, minlength=num_blocks)
    split = pieces_of_block > 1
    is_split = split[piece_block]
    piece_partial = np.where(is_split, np.cumsum(is_split) - 1, -1).astype(np.int32)
    if spans is None:
        span_piece = np.zeros(1, dtype=np.int32)
        order = np.argsort(piece_first - piece_last, kind="stable")
    else:
        span_piece = np.searchsorted(tile_part[piece_first], np.arange(spans + 1)).astype(np.int32)
        order = np.arange(len(piece_first))
    row_node = _row_node(plan)
    row_page = plan.node_page[row_node] + (plan.row_position - plan.node_start[row_node]) // plan.page_size
    return Work(
        row_position=plan.row_position.copy(),
        row_slot=plan.row_slot.copy(),
        **page_table(plan),
        row_page=row_page,
        row_last_page=plan.node_page[1:][row_node] - 1,
        block_lo=block_lo,
        block_hi=block_hi,
        tile_first=tile_first,
        tile_last=tile_last,
        piece_block=piece_block[order],
        piece_first=piece_first[order],
        piece_mixed=piece_mixed[order],
        piece_last=piece_last[order],
        piece_partial=piece_partial[order],
        span_piece=span_piece,
        merge_block=np.flatnonzero(split).astype(np.int32),
        merge_partial=_i32([0], np.cumsum(pieces_of_block[split])),
        page_size=plan.page_size,
    )


def _spans_of(tile_block: Int32, num_blocks: int, spans: int) -> Int32:
    """[T] the span of each tile: equal cost, but a cut near the end of a block moves there and splits nothing."""
    cost = np.arange(len(tile_block)) + PIECE_COST * (tile_block + 1)
    total = len(tile_block) + PIECE_COST * num_blocks
    cuts = total * np.arange(1, spans) / spans
    last_tile = np.append(np.flatnonzero(np.diff(tile_block)), len(tile_block) - 1)
    ends = np.append(0, cost[last_tile] + 1)
    after = np.searchsorted(ends, cuts)
    nearest = np.where(ends[after] - cuts < cuts - ends[after - 1], ends[after], ends[after - 1])
    cuts = np.where(np.abs(nearest - cuts) <= max(PIECE_COST, total / spans / 16), nearest, cuts)
    return np.searchsorted(cuts, cost, side="right").astype(np.int32)


def row_blocks(shared: Int64, block_rows: int) -> Int32:
    """[B + 1] edges of the row blocks: at most `block_rows` rows each, cut where the least is read twice.

    shared: [N + 1] of `shared_tokens`.
    Cutting between two rows makes both sides read what the rows share, so trees are never joined, and inside a tree
    a cut moves to the fork that costs least per row of its block; where none is better, blocks come out even.
    """
    trees = np.flatnonzero(shared == 0)  # [trees + 1] edges between rows that share nothing
    large = np.flatnonzero(np.diff(trees) > block_rows)
    extra: list[int] = []
    for tree in large.tolist():
        lo, hi = int(trees[tree]), int(trees[tree + 1])
        even = -(-(hi - lo) // -(-(hi - lo) // block_rows))
        while hi - lo > even:
            per_row = shared[lo + 1 : lo + even + 1] / _COUNT[1 : even + 1]
            lo += even - int(per_row[::-1].argmin())
            extra.append(lo)
    return np.sort(_i32(trees, extra)) if extra else trees.astype(np.int32)


_COUNT = np.arange(4096, dtype=np.float32)


def shared_tokens(plan: Plan) -> Int64:
    """[N + 1] tokens that rows r - 1 and r both see; 0 at both ends."""
    change = np.bincount(plan.node_lo + 1, weights=plan.node_tokens, minlength=plan.num_rows + 2)
    change -= np.bincount(np.maximum(plan.node_hi, plan.node_lo + 1), weights=plan.node_tokens, minlength=len(change))
    return np.cumsum(change[: plan.num_rows + 1]).astype(np.int64)


def page_table(plan: Plan) -> dict[str, Int32]:
    """Work's page arrays: [P] each, pages in the plan's order."""
    page_count = np.diff(plan.node_page)
    node = np.repeat(np.arange(plan.num_nodes, dtype=np.int32), page_count)
    offset = plan.page_size * rank(page_count)
    return {
        "page": plan.pages.copy(),
        "page_tokens": np.clip(plan.node_tokens[node] - offset, 0, plan.page_size).astype(np.int32),
        "page_start": plan.node_start[node] + offset,
        "page_lo": plan.node_lo[node],
        "page_hi": plan.node_hi[node],
    }


def widest_tree(plan: Plan) -> int:
    """Rows of the tree that has most: what a query tile should hold."""
    return int(np.diff(np.flatnonzero(shared_tokens(plan) == 0)).max())


def _runs(
    plan: Plan, page_count: Int32, block_lo: Int32, block_hi: Int32, window: int | None
) -> tuple[Int32, npt.NDArray[np.bool_], Int32, Int32]:
    """Page-table ranges each block sees, as (block, needs a mask, first, last), ordered by block, unmasked first."""
    live = np.flatnonzero((plan.node_hi > plan.node_lo) & (plan.node_tokens > 0)).astype(np.int32)
    lo, hi = plan.node_lo[live], plan.node_hi[live]
    first_block = np.searchsorted(block_hi, lo, side="right").astype(np.int32)
    blocks = np.searchsorted(block_lo, hi, side="left").astype(np.int32) - first_block
    node = np.repeat(live, blocks)
    block = np.repeat(first_block, blocks) + rank(blocks)

    lowest = np.minimum.reduceat(plan.row_position, block_lo)[block]
    last_row = np.minimum(block_hi[block], plan.node_hi[node]) - 1
    # The block ends inside the node's own new tokens: later ones are invisible to all its rows.
    visible = np.minimum(plan.row_position[last_row] - plan.node_start[node] + 1, plan.node_tokens[node])
    whole = visible == plan.node_tokens[node]
    last = np.where(whole, page_count[node], -(-visible // plan.page_size))
    skipped = np.zeros_like(last)
    if window is not None:
        skipped = np.clip((lowest - window + 1 - plan.node_start[node]) // plan.page_size, 0, last)
    mixed = (plan.node_lo[node] > block_lo[block]) | (plan.node_hi[node] < block_hi[block])
    # Whole pages are read, so a row must also see the tokens after its own in the last page, or be masked.
    mixed |= plan.node_start[node] + np.minimum(last * plan.page_size, plan.node_tokens[node]) - 1 > lowest
    first_page = plan.node_page[node]
    first, last = first_page + skipped, first_page + last

    order = np.argsort(block * 2 + mixed, kind="stable")
    order = order[(last > first)[order]]
    block, mixed, first, last = block[order], mixed[order], first[order], last[order]
    new_run = (np.diff(block) != 0) | (np.diff(mixed) != 0) | (first[1:] != last[:-1])
    begin = _i32([0], np.flatnonzero(new_run) + 1)
    end = _i32(begin[1:], [len(block)]) - 1
    return block[begin], mixed[begin], first[begin].astype(np.int32), last[end].astype(np.int32)


def _lockstep(spans: int, edges: Int32, shared: Int64) -> int:
    """Fewer spans when the blocks of one tree then move over its shared tokens together, within an eighth.

    Programs that read the same pages at the same time read memory once: the others are served by the L2 cache.
    """
    most = int(np.diff(np.flatnonzero(shared[edges] == 0)).max())
    fewer = spans - spans % most if most <= spans else spans
    return fewer if fewer * 8 >= spans * 7 else spans


def live_pages(plan: Plan) -> Int32:
    """[R, 2] maximal page-table ranges that hold tokens some row may see."""
    seen = (plan.node_hi > plan.node_lo) & (plan.node_tokens > 0)
    used = page_table(plan)["page_tokens"] > 0
    used &= np.repeat(seen, np.diff(plan.node_page))
    edges = np.flatnonzero(np.diff(_i32([0], used, [0])))
    return edges.reshape(-1, 2).astype(np.int32)


def _row_node(plan: Plan) -> Int32:
    """[N] the node that owns each row: the last in depth-first order whose interval holds it."""
    own = plan.node_hi > plan.node_lo
    nodes = np.flatnonzero(own).astype(np.int32)
    row = np.arange(plan.num_rows, dtype=np.int32)
    # The owner starts where its own first row lies; nodes without new tokens start there too but come earlier.
    lo = plan.node_lo[nodes]
    last = np.searchsorted(lo, row, side="right") - 1
    return nodes[last]


def rank(counts: Int32) -> Int32:
    """0, 1, ... within each group of the given sizes."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return (np.arange(total) - np.repeat(ends - counts, counts)).astype(np.int32)


def _i32(*parts: npt.ArrayLike) -> Int32:
    return np.concatenate([np.asarray(part) for part in parts]).astype(np.int32)
