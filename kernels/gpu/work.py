"""Work of a plan on a GPU, and how it moves on by one token per branch. `make_work` cuts it from a plan."""

from __future__ import annotations

from dataclasses import dataclass

from treereason.kernels.plan import Int32


class NoPageLeft(RuntimeError):
    """A branch has filled the pages that its plan reserved."""


@dataclass(frozen=True)
class Work:
    """Host int32 arrays. N rows, C pages of all tiles, E pieces, S spans, M merges.

    row_position, row_slot: [N] as in Plan.
    page_slot, page_seen, page_start: [C] the pages of every tile, tile after tile, `tile_pages` each: the first slot
    that is read of it; who sees how much of it, packed by `pack_seen`; and its first token's position. A page that
    several blocks read is listed for each. Places without a page have no tokens; one tile of them comes last.
    row_page: [N] place in [C] of the page that holds the row's token. row_last_page: [N] of the last its node owns.
    piece_lo, piece_hi: [E] rows of the piece's block. piece_first, piece_mixed, piece_last: [E] tiles [first, mixed)
    are full pages that every row of the block sees, [mixed, last) need a mask.
    piece_partial: [E] the partial result it leaves, -1 when the piece is its whole block.
    span_piece: [S + 1] pieces of a span; S is 0 where every piece has a program of its own.
    merge_count: [1] M. merge_lo, merge_hi: [M] rows of the blocks in several pieces. merge_partial: [M + 1] their
    partial results in order.
    page_size: tokens per page.
    """

    row_position: Int32
    row_slot: Int32
    page_slot: Int32
    page_seen: Int32
    page_start: Int32
    row_page: Int32
    row_last_page: Int32
    piece_lo: Int32
    piece_hi: Int32
    piece_first: Int32
    piece_mixed: Int32
    piece_last: Int32
    piece_partial: Int32
    span_piece: Int32
    merge_count: Int32
    merge_lo: Int32
    merge_hi: Int32
    merge_partial: Int32
    page_size: int

    @property
    def num_spans(self) -> int:
        """S, programs per KV head of a persistent grid."""
        return len(self.span_piece) - 1

    @property
    def num_partials(self) -> int:
        """Partial results written, each of a whole query tile."""
        return int(self.merge_partial[-1])

    @property
    def num_tiles(self) -> int:
        """KV tiles that all pieces walk."""
        return int((self.piece_last - self.piece_first).sum())

    def advance(self, row_pages: Int32 | None = None) -> None:
        """One more token for every row, for steps of one row per branch, in the pages that the plan reserved.

        row_pages: [N] page of each row's new token, where the plan reserved pages that were not known yet.
        Raises NoPageLeft, and changes nothing, when a branch has no page left: then it is time for a new plan.
        """
        stored = self.page_slot[self.row_page] + stored_tokens(self.page_seen[self.row_page])
        full = stored % self.page_size == 0
        if (full & (self.row_page == self.row_last_page)).any():
            raise NoPageLeft("a branch has filled its reserved pages; plan again")
        self.row_page[:] += full
        if row_pages is not None:
            self.page_slot[self.row_page[full]] = row_pages[full] * self.page_size
        self.row_position[:] += 1
        self.row_slot[:] = self.page_slot[self.row_page] + stored_tokens(self.page_seen[self.row_page])
        self.page_seen[self.row_page] += ONE_TOKEN


ONE_TOKEN = 1 << 16
MOST_ROWS = 255
"""Of a block: first and last row that see a page take eight bits each."""


def pack_seen(lo: Int32, hi: Int32, tokens: Int32) -> Int32:
    """Rows [lo, hi) of the block see the page's first `tokens` tokens, as one integer each."""
    return lo | hi << 8 | tokens << 16


def stored_tokens(seen: Int32) -> Int32:
    """The tokens that `pack_seen` packed."""
    return seen >> 16
