"""DeFT's groups (arXiv 2404.00242): page ranges with the rows below them, and the three ways to cut a forest into them.

A group leaves one partial result per row, and each row folds the groups on its path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from treereason.kernels.gpu.page_table import live_pages, page_table
from treereason.kernels.gpu.ragged import rank
from treereason.kernels.gpu.seen_pages import SeenPages
from treereason.kernels.gpu.tiles import lay_tiles
from treereason.kernels.plan import Int32, Plan

# Tokens of a chunk in Node-Chunk and Flatten, as in the published code.
CHUNK_TOKENS = 128


@dataclass(frozen=True)
class Groups:
    """Host int32 arrays. U groups, each cut to the rows of a query tile; C pages of tiles; R (row, group) pairs.

    group_lo, group_hi: [U] rows. group_first, group_mixed, group_last: [U] the group's tiles, as a piece's of Work.
    page_slot, page_seen, page_start: [C] as in Work.
    pair_start: [N + 1] a row's pairs; pair_group, pair_rank: [R] the group, and the row's place in it.
    """

    group_lo: Int32
    group_hi: Int32
    group_first: Int32
    group_mixed: Int32
    group_last: Int32
    page_slot: Int32
    page_seen: Int32
    page_start: Int32
    pair_start: Int32
    pair_group: Int32
    pair_rank: Int32

    @property
    def num_groups(self) -> int:
        """U, and partial results: one per group."""
        return len(self.group_lo)


class Cut(NamedTuple):
    """Groups before they are cut to query tiles: rows [lo, hi) over page-table entries [first, last), [groups] each.

    mixed: [groups] bool, whether some row misses some token.
    """

    lo: Int32
    hi: Int32
    first: Int32
    last: Int32
    mixed: npt.NDArray[np.bool_]


def node_groups(plan: Plan, chunk_pages: int | None) -> Cut:
    """One group per node, or several of `chunk_pages` pages each (Node and Node-Chunk, section 3)."""
    live = np.flatnonzero((plan.node_hi > plan.node_lo) & (plan.node_tokens > 0))
    pages = -(-(plan.node_offset[live] + plan.node_tokens[live]) // plan.page_size)
    chunks = np.ones_like(pages) if chunk_pages is None else -(-pages // chunk_pages)
    node = np.repeat(live, chunks)
    size = np.repeat(pages if chunk_pages is None else np.full_like(pages, chunk_pages), chunks)
    first = plan.node_page[node] + rank(chunks) * size
    last = np.minimum(first + size, plan.node_page[node] + np.repeat(pages, chunks))
    last_token = plan.node_start[node] + plan.node_tokens[node] - 1
    mixed = plan.row_position[plan.node_lo[node]] < last_token  # the node has new tokens, so its rows differ
    return Cut(plan.node_lo[node], plan.node_hi[node], first.astype(np.int32), last.astype(np.int32), mixed)


def flat_groups(plan: Plan, chunk_pages: int) -> Cut:
    """Chunks of equal size over all pages, whichever nodes they belong to, with the rows below any (Flatten)."""
    table = page_table(plan)
    runs = live_pages(plan)
    chunks = -(-np.diff(runs, axis=1)[:, 0] // chunk_pages)
    first = np.repeat(runs[:, 0], chunks) + rank(chunks) * chunk_pages
    last = np.minimum(first + chunk_pages, np.repeat(runs[:, 1], chunks))
    edges = np.stack([first, last], axis=1).reshape(-1)
    lo = np.minimum.reduceat(np.append(table.page_lo, 0), edges)[::2]
    hi = np.maximum.reduceat(np.append(table.page_hi, 0), edges)[::2]
    mixed = np.ones(len(first), dtype=bool)
    return Cut(lo, hi, first.astype(np.int32), last.astype(np.int32), mixed)


CUTS: dict[str, Callable[[Plan], Cut]] = {
    # One group per node, however long: one program walks a 20k-token root alone.
    "deft_node": lambda plan: node_groups(plan, chunk_pages=None),
    # Nodes longer than a chunk are cut, so that they spread; short ones stay small groups.
    "deft_node_chunk": lambda plan: node_groups(plan, chunk_pages=CHUNK_TOKENS // plan.page_size),
    # Equal chunks over the flattened KV of all nodes, masked where a chunk spans several.
    "deft_flatten": lambda plan: flat_groups(plan, chunk_pages=CHUNK_TOKENS // plan.page_size),
}
"""DeFT-Node, DeFT-Node-Chunk and DeFT-Flatten (arXiv 2404.00242, section 3): plan to groups."""


def make_groups(cut: Cut, plan: Plan, *, block_rows: int, tile_pages: int) -> Groups:
    """Groups of at most `block_rows` rows, their tiles, and for every row the groups it folds."""
    lo, hi, first, last, mixed = cut
    parts = -(-(hi - lo) // block_rows)
    group = np.repeat(np.arange(len(lo)), parts)
    row_lo = (lo[group] + rank(parts) * block_rows).astype(np.int32)
    row_hi = np.minimum(row_lo + block_rows, hi[group])
    table = page_table(plan)
    num_pages = (last - first)[group]
    part = np.repeat(np.arange(len(group), dtype=np.int32), num_pages)
    entry = (np.repeat(first[group], num_pages) + rank(num_pages)).astype(np.int32)
    masked = mixed[group][part] | (table.page_tokens[entry] < plan.page_size)
    seen = SeenPages(part, entry, masked)
    tiles = lay_tiles(seen, row_lo, row_hi, table, tile_pages=tile_pages)
    rows = row_hi - row_lo
    pair_group = np.repeat(np.arange(len(row_lo), dtype=np.int32), rows)
    pair_row = row_lo[pair_group] + rank(rows)
    order = np.argsort(pair_row, kind="stable")
    return Groups(
        group_lo=row_lo,
        group_hi=row_hi,
        group_first=tiles.first,
        group_mixed=tiles.mixed,
        group_last=tiles.last,
        page_slot=tiles.page_slot,
        page_seen=tiles.page_seen,
        page_start=tiles.page_start,
        pair_start=np.searchsorted(pair_row[order], np.arange(plan.num_rows + 1)).astype(np.int32),
        pair_group=pair_group[order],
        pair_rank=rank(rows)[order],
    )
