"""Every page of a plan in one table, so that a kernel needs no notion of a node."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from treereason.kernels.gpu.ragged import i32, rank
from treereason.kernels.plan import Int32, Plan


@dataclass(frozen=True)
class PageTable:
    """Host int32 arrays, [P] each, pages in the plan's order; an entry is an index into them.

    page_slot: first slot of the node's tokens in it. page_tokens: how many. page_start: position of the first.
    page_lo, page_hi: rows at or below its node.
    """

    page_slot: Int32
    page_tokens: Int32
    page_start: Int32
    page_lo: Int32
    page_hi: Int32


def page_table(plan: Plan) -> PageTable:
    """The table of a plan, pages that are only reserved included."""
    page_count = np.diff(plan.node_page)
    node = np.repeat(np.arange(plan.num_nodes, dtype=np.int32), page_count)
    offset = plan.page_size * rank(page_count) - plan.node_offset[node]
    skipped = np.maximum(-offset, 0)  # of a part's first page
    return PageTable(
        page_slot=plan.pages * plan.page_size + skipped,
        page_tokens=np.clip(plan.node_tokens[node] - offset, 0, plan.page_size).astype(np.int32) - skipped,
        page_start=plan.node_start[node] + offset + skipped,
        page_lo=plan.node_lo[node],
        page_hi=plan.node_hi[node],
    )


def live_pages(plan: Plan) -> Int32:
    """[R, 2] the longest ranges of entries that hold tokens some row may see."""
    seen = (plan.node_hi > plan.node_lo) & (plan.node_tokens > 0)
    used = page_table(plan).page_tokens > 0
    used &= np.repeat(seen, np.diff(plan.node_page))
    edges = np.flatnonzero(np.diff(i32([0], used, [0])))
    return edges.reshape(-1, 2).astype(np.int32)
