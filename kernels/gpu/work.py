"""Work of a plan on a GPU, and how it moves on by one token per branch. `make_work` cuts it from a plan."""

from __future__ import annotations

from dataclasses import dataclass

from treereason.kernels.plan import Int32


class NoPageLeft(RuntimeError):
    """A branch has filled the pages that its plan reserved."""


@dataclass(frozen=True)
class Work:
    """Host int32 arrays. N rows, P pages, B blocks, T tiles, E pieces, S spans, M merges.

    row_position, row_slot: [N] as in Plan.
    page, page_tokens, page_start, page_lo, page_hi: [P] as in PageTable.
    row_page: [N] page-table entry where the row's token lies.
    row_last_page: [N] last entry its node owns.
    block_lo, block_hi: [B] rows of the block.
    tile_first, tile_last: [T] page-table range of the tile; tiles of a block adjoin, those that need no mask first.
    piece_block: [E]. piece_first, piece_mixed, piece_last: [E] tiles [first, mixed) need no mask, [mixed, last) do.
    piece_partial: [E] the partial result it leaves, -1 when the piece is its whole block.
    span_piece: [S + 1] pieces of a span; S is 0 where every piece has a program of its own.
    merge_block: [M], merge_partial: [M + 1] blocks in several pieces, and the partial results to fold, in order.
    page_size: tokens per page.
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
        """S, programs per KV head of a persistent grid."""
        return len(self.span_piece) - 1

    @property
    def num_partials(self) -> int:
        """Partial results written, each of a whole query tile."""
        return int(self.merge_partial[-1])

    def advance(self, row_pages: Int32 | None = None) -> None:
        """One more token for every row, for steps of one row per branch, in the page-table entries the plan reserved.

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
