"""What row blocks see of the page table, as ranges of entries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from treereason.kernels.gpu.ragged import i32, rank, run_starts
from treereason.kernels.plan import Int32, Plan

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Ranges:
    """Range i is the page-table entries [first, last) that a row block sees; [R] each.

    Ordered by block; within a block those first that need no mask. mixed: bool, whether some row of the block misses
    some token of the range, so that a kernel has to mask it.
    """

    block: Int32
    mixed: Bool
    first: Int32
    last: Int32

    def tiles(self, tile_pages: int) -> Ranges:
        """The same in KV tiles of at most `tile_pages` entries, in the same order."""
        num_tiles = -(-(self.last - self.first) // tile_pages)
        of = np.repeat(np.arange(len(self.first), dtype=np.int32), num_tiles)
        first = self.first[of] + tile_pages * rank(num_tiles)
        return Ranges(self.block[of], self.mixed[of], first, np.minimum(first + tile_pages, self.last[of]))


def seen_ranges(plan: Plan, edges: Int32, window: int | None) -> Ranges:
    """The entries each row block must read, as few ranges as that takes.

    edges: [B + 1] rows where the blocks begin and end. Entries that `window` hides from a whole block are left out.
    """
    node, block = _meetings(plan, edges)
    block_hi = edges[block + 1]
    lowest = np.minimum.reduceat(plan.row_position, edges[:-1])[block]
    start, tokens, node_hi = plan.node_start[node], plan.node_tokens[node], plan.node_hi[node]
    # A block may end inside the node's own new tokens: later ones are invisible to all its rows.
    last_row = np.minimum(block_hi, node_hi) - 1
    visible = np.minimum(plan.row_position[last_row] - start + 1, tokens)
    # A node that is seen whole will grow into the pages that are only reserved.
    pages = np.where(visible == tokens, np.diff(plan.node_page)[node], -(-visible // plan.page_size))
    mixed = (plan.node_lo[node] > edges[block]) | (node_hi < block_hi)
    # Whole pages are read, so a row must also see the tokens after its own in the last page, or be masked.
    mixed |= start + np.minimum(pages * plan.page_size, tokens) - 1 > lowest
    first = last = plan.node_page[node]
    if window is not None:
        first = first + np.clip((lowest - window + 1 - start) // plan.page_size, 0, pages)
    return _joined(Ranges(block, mixed, first, last + pages))


def _meetings(plan: Plan, edges: Int32) -> tuple[Int32, Int32]:
    """(node, block), [pairs] each: every node that some row reads, with every block that holds such a row."""
    live = np.flatnonzero((plan.node_hi > plan.node_lo) & (plan.node_tokens > 0)).astype(np.int32)
    first_block = np.searchsorted(edges[1:], plan.node_lo[live], side="right").astype(np.int32)
    end_block = np.searchsorted(edges[:-1], plan.node_hi[live], side="left").astype(np.int32)
    num_blocks = end_block - first_block
    return np.repeat(live, num_blocks), np.repeat(first_block, num_blocks) + rank(num_blocks)


def _joined(ranges: Ranges) -> Ranges:
    """Without empty ranges, in the order that Ranges promises, and adjoining ranges as one."""
    order = np.argsort(ranges.block * 2 + ranges.mixed, kind="stable")
    order = order[(ranges.last > ranges.first)[order]]
    block, mixed, first, last = (column[order] for column in vars(ranges).values())
    begin = run_starts((np.diff(block) != 0) | (np.diff(mixed) != 0) | (first[1:] != last[:-1]))
    end = i32(begin[1:], [len(block)]) - 1
    return Ranges(block[begin], mixed[begin], first[begin].astype(np.int32), last[end].astype(np.int32))
