"""The plan of rows that see parts of their paths: nodes are cut where the views of their rows begin and end.

A part is a run of a node's tokens with a maximal interval of consecutive rows that see it, so the rule of the plan
stays word for word: row r sees token t of part e <=> lo[e] <= r < hi[e] and position[t] <= position[r]. Rows that see
the same part share one read of it. Parts are not nested: a node may be listed several times or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from treereason.kernels.plan import Int32, Plan

Int64 = npt.NDArray[np.int64]
OPEN = 1 << 30
"""Behind every position."""


@dataclass(frozen=True)
class Spans:
    """What rows see: span j is positions [first, last) of the paths of rows [lo, hi). Host int32, [J] each.

    Rows of a span are new tokens of one node, side by side, and see of the span what is not after them: one that goes
    up to the row itself may end anywhere behind it, best at OPEN. Spans of the same rows do not overlap.
    """

    lo: Int32
    hi: Int32
    first: Int32
    last: Int32


def span_plan(plan: Plan, spans: Spans) -> Plan:
    """The plan in which rows see their spans alone. plan: of whole nodes, in which rows see their whole paths."""
    node, span = _meetings(plan, spans)
    start, tokens = plan.node_start[node], plan.node_tokens[node]
    # As one number: tokens of a node count from node * most.
    most = int(plan.node_tokens.max()) + 1
    base = node.astype(np.int64) * most
    first = base + np.maximum(spans.first[span] - start, 0)
    last = base + np.minimum(spans.last[span] - start, tokens)
    borders = np.unique(np.concatenate([first, last]))
    begin, end = np.searchsorted(borders, first), np.searchsorted(borders, last)
    count = end - begin
    piece = np.repeat(begin, count) + np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    span = np.repeat(span, count)
    # Rows in front of a piece see nothing of it.
    position = plan.node_start[borders[piece] // most] + borders[piece] % most
    lo = spans.lo[span] + np.maximum(position - plan.row_position[spans.lo[span]], 0)
    some = lo < spans.hi[span]
    piece, lo, hi = _joined(piece[some], lo[some], spans.hi[span][some])
    lo, hi, first, last = _lengthened(piece, lo, hi, borders, most)
    order = np.lexsort((lo, first))
    return _of_parts(plan, (first // most)[order], (first % most)[order], (last - first)[order], lo[order], hi[order])


def _meetings(plan: Plan, spans: Spans) -> tuple[Int64, Int64]:
    """(node, span), [pairs] each: every node that has tokens in a span of its rows."""
    end = plan.node_start + plan.node_tokens
    meets = (plan.node_lo[:, None] <= spans.lo) & (spans.lo < plan.node_hi[:, None])
    meets &= (plan.node_start[:, None] < spans.last) & (spans.first < end[:, None]) & (plan.node_tokens[:, None] > 0)
    node, span = np.nonzero(meets)
    return node, span


def _joined(piece: Int64, lo: Int64, hi: Int32) -> tuple[Int64, Int64, Int64]:
    """Rows of each piece as maximal intervals."""
    order = np.lexsort((lo, piece))
    piece, lo, hi = piece[order], lo[order], hi[order].astype(np.int64)
    new = np.ones(len(piece), dtype=bool)
    new[1:] = (piece[1:] != piece[:-1]) | (lo[1:] != hi[:-1])
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(piece)) - 1
    return piece[first], lo[first], hi[last]


def _lengthened(piece: Int64, lo: Int64, hi: Int64, borders: Int64, most: int) -> tuple[Int64, Int64, Int64, Int64]:
    """(lo, hi, first, last) of parts: pieces of one node that lie side by side and have the same rows are one."""
    order = np.lexsort((piece, hi, lo))
    piece, lo, hi = piece[order], lo[order], hi[order]
    new = np.ones(len(piece), dtype=bool)
    new[1:] = (lo[1:] != lo[:-1]) | (hi[1:] != hi[:-1]) | (piece[1:] != piece[:-1] + 1)
    new[1:] |= borders[piece[1:]] // most != borders[piece[:-1]] // most
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(piece)) - 1
    return lo[first], hi[first], borders[piece[first]], borders[piece[last] + 1]


def _of_parts(plan: Plan, node: Int64, offset: Int64, tokens: Int64, lo: Int64, hi: Int64) -> Plan:
    """The plan of parts: `tokens` tokens from `offset` on of a node each. The last part keeps its reserved pages."""
    size = plan.page_size
    first_page = offset // size
    end_page = -(-(offset + tokens) // size)
    end_page = np.where(offset + tokens == plan.node_tokens[node], np.diff(plan.node_page)[node], end_page)
    count = end_page - first_page
    node_page = np.concatenate([[0], np.cumsum(count)])
    page = np.repeat(plan.node_page[node] + first_page - node_page[:-1], count) + np.arange(node_page[-1])
    return replace(
        plan,
        node_lo=lo.astype(np.int32),
        node_hi=hi.astype(np.int32),
        node_start=(plan.node_start[node] + offset).astype(np.int32),
        node_tokens=tokens.astype(np.int32),
        node_offset=(offset % size).astype(np.int32),
        node_page=node_page.astype(np.int32),
        pages=plan.pages[page],
    )
