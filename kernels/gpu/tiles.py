"""KV tiles: the pages that each reader walks, laid out one after another, so that a kernel finds them by counting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from treereason.kernels.gpu.page_table import PageTable
from treereason.kernels.gpu.ragged import i32, rank
from treereason.kernels.gpu.seen_pages import SeenPages
from treereason.kernels.gpu.work import MOST_ROWS, pack_seen
from treereason.kernels.plan import Int32


@dataclass(frozen=True)
class Tiles:
    """C places of pages, `tile_pages` to a tile; B readers, such as row blocks.

    page_slot, page_seen, page_start: [C] as in Work.
    first, mixed, last: [B] the reader's tiles, those that need no mask first.
    place: [R] where the given pages lie.
    """

    page_slot: Int32
    page_seen: Int32
    page_start: Int32
    first: Int32
    mixed: Int32
    last: Int32
    place: Int32


def lay_tiles(seen: SeenPages, lo: Int32, hi: Int32, table: PageTable, *, tile_pages: int) -> Tiles:
    """Tiles of the pages that readers see; block numbers are numbers of readers. lo, hi: [B] the readers' rows.

    Pages of one reader fill its tiles whatever nodes they belong to: full ones in tiles without a mask, then what is
    left of those together with the others.
    """
    assert int((hi - lo).max(initial=0)) <= MOST_ROWS, "rows of a block are packed into eight bits"
    num_pages = np.bincount(seen.block, minlength=len(lo))
    num_plain = np.bincount(seen.block[~seen.masked], minlength=len(lo))
    last = i32(np.cumsum(-(-num_pages // tile_pages)))
    first = i32([0], last[:-1])
    # Of each page, how many of its kind its reader has before it; pages of a node so stay side by side.
    plain_before = np.cumsum(~seen.masked) - ~seen.masked - (np.cumsum(num_plain) - num_plain)[seen.block]
    masked_before = rank(i32(num_pages)) - plain_before
    own = np.where(seen.masked, num_plain[seen.block] + masked_before, plain_before)
    place = (tile_pages * first[seen.block] + own).astype(np.int32)
    arrays = np.zeros((3, (int(last[-1]) + 1) * tile_pages), dtype=np.int32)
    arrays[0, place] = table.page_slot[seen.entry]
    arrays[1, place] = pack_seen(
        np.maximum(table.page_lo[seen.entry] - lo[seen.block], 0),
        np.minimum(table.page_hi[seen.entry], hi[seen.block]) - lo[seen.block],
        table.page_tokens[seen.entry],
    )
    arrays[2, place] = table.page_start[seen.entry]
    return Tiles(arrays[0], arrays[1], arrays[2], first, first + i32(num_plain // tile_pages), last, place)
