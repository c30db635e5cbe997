"""What row blocks see of the page table, page by page."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from treereason.kernels.gpu.ragged import rank
from treereason.kernels.plan import Int32, Plan

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SeenPages:
    """Place i is page-table entry entry[i], which row block block[i] reads; [R] each, by block, then by entry.

    masked: bool, whether a kernel has to look who sees how much of the page. Without it, the page is full and every row
    of the block sees all of it, also after any number of advances.
    """

    block: Int32
    entry: Int32
    masked: Bool


def seen_pages(plan: Plan, edges: Int32, owner: Int32, window: int | None) -> SeenPages:
    """The pages each row block must read, reserved ones included.

    edges: [B + 1] rows where the blocks begin and end. owner: [N] node that holds the row's token. Pages that `window`
    hides from a whole block are left out.
    """
    node, block = _meetings(plan, edges)
    lowest = np.minimum.reduceat(plan.row_position, edges[:-1])[block]
    # A node that begins within a page is taken from the page's beginning on; that page gets a mask.
    offset = plan.node_offset[node]
    start, tokens = plan.node_start[node] - offset, plan.node_tokens[node] + offset
    # A block may end inside the node's own new tokens: later ones are invisible to all its rows.
    last_row = np.minimum(edges[block + 1], plan.node_hi[node]) - 1
    visible = np.minimum(plan.row_position[last_row] - start + 1, tokens)
    # A node that is seen whole will grow into the pages that are only reserved.
    num_pages = np.where(visible == tokens, np.diff(plan.node_page)[node], -(-visible // plan.page_size))
    skipped = np.zeros_like(num_pages)
    if window is not None:
        skipped = np.clip((lowest - window + 1 - start) // plan.page_size, 0, num_pages)
    count = num_pages - skipped
    page = np.repeat(skipped, count) + rank(count)  # of its node
    first_token = np.repeat(start, count) + page * plan.page_size
    # The page that a node still fills is its last one in use.
    masked = page >= np.repeat((tokens - 1) // plan.page_size, count)
    masked |= (page == 0) & np.repeat(offset > 0, count)
    masked |= np.repeat((plan.node_lo[node] > edges[block]) | (plan.node_hi[node] < edges[block + 1]), count)
    masked |= first_token + plan.page_size - 1 > np.repeat(lowest, count)
    if window is not None:
        room = plan.node_start - plan.node_offset + plan.page_size * np.diff(plan.node_page)
        furthest = np.maximum.reduceat(room[owner], edges[:-1])[block]  # where its last row has to stop
        masked |= np.repeat(furthest, count) - first_token >= window
    entry = np.repeat(plan.node_page[node], count) + page
    return SeenPages(np.repeat(block, count), entry, masked)


def _meetings(plan: Plan, edges: Int32) -> tuple[Int32, Int32]:
    """(node, block), [pairs] each, block by block: every node that some row reads, with every block of such a row."""
    live = np.flatnonzero((plan.node_hi > plan.node_lo) & (plan.node_tokens > 0)).astype(np.int32)
    first_block = np.searchsorted(edges[1:], plan.node_lo[live], side="right").astype(np.int32)
    end_block = np.searchsorted(edges[:-1], plan.node_hi[live], side="left").astype(np.int32)
    num_blocks = end_block - first_block
    block = np.repeat(first_block, num_blocks) + rank(num_blocks)
    order = np.argsort(block, kind="stable")
    return np.repeat(live, num_blocks)[order], block[order]
