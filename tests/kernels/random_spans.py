"""Random views of the rows of a plan of whole nodes."""

from __future__ import annotations

import numpy as np

from treereason.kernels.plan import Plan
from treereason.kernels.span_plan import OPEN, Spans


def random_spans(rng: np.random.Generator, plan: Plan, *, share_all: float = 0.2) -> Spans:
    """Rows of a node in runs of equal views: from some position to themselves, and intervals before that.

    share_all: how often a run sees everything.
    """
    columns: list[tuple[int, int, int, int]] = []
    lo, node = 0, nodes_of_rows(plan)
    while lo < plan.num_rows:
        end = lo + 1
        while end < plan.num_rows and node[end] == node[lo] and rng.random() < 0.8:
            end += 1
        position = int(plan.row_position[lo])
        own = 0 if rng.random() < share_all else int(rng.integers(max(0, position - 25), position + 1))
        last = OPEN if rng.random() < 0.5 else int(plan.row_position[end - 1]) + 1
        columns.append((lo, end, own, last))
        borders = np.unique(rng.integers(0, own, int(rng.integers(0, 6)))) if own else np.array([], dtype=int)
        columns += [
            (lo, end, int(first), int(last))
            for first, last in zip(borders[::2].tolist(), borders[1::2].tolist(), strict=False)
        ]
        lo = end
    order = rng.permutation(len(columns))
    return Spans(*np.array(columns, dtype=np.int32)[order].T)


def nodes_of_rows(plan: Plan) -> np.ndarray:
    """[N] the node of each row's token: that of its page."""
    node_of_page = np.zeros(int(plan.pages.max()) + 1, dtype=int)
    node_of_page[plan.pages] = np.repeat(np.arange(plan.num_nodes), np.diff(plan.node_page))
    return node_of_page[plan.row_slot // plan.page_size]


def seen_of_spans(plan: Plan, spans: Spans) -> np.ndarray:
    """[N, slots] whether a row sees a slot: on its path, in a span of its own, and not after it."""
    seen = np.zeros((plan.num_rows, (int(plan.pages.max()) + 1) * plan.page_size), dtype=int)
    for node in range(plan.num_nodes):
        position = plan.node_start[node] + np.arange(plan.node_tokens[node])
        for row in range(plan.node_lo[node], plan.node_hi[node]):
            mine = (spans.lo <= row) & (row < spans.hi)
            inside = (spans.first[mine, None] <= position) & (position < spans.last[mine, None])
            seen[row, plan.slots(node)] = inside.any(axis=0) & (position <= plan.row_position[row])
    return seen
