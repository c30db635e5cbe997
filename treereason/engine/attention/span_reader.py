"""What the rows of a step see under a span policy, read off the tokens of their nodes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from treereason.core.spans import SpanPolicy, View
from treereason.engine.kv.forest import Node
from treereason.kernels.span_plan import OPEN, Spans


@dataclass
class Reading:
    """What a policy has made of a node's first tokens; kept on the node.

    state: behind them. tokens: those. changes: (index of a token, view from it on), where views change.
    """

    state: Any
    tokens: list[int] = field(default_factory=list)
    changes: list[tuple[int, View]] = field(default_factory=list)

    def is_stale(self, node: Node) -> bool:
        """Whether the node has taken back tokens that were read, as a growing one may."""
        num_read = len(self.tokens)
        return num_read > len(node.tokens) or (node.growing and self.tokens != node.tokens[:num_read])


class SpanReader:
    """Reads each token once: a node's reading goes on from that of its parent, and grows with the node."""

    def __init__(self, policy: SpanPolicy) -> None:
        self._policy = policy

    def at_end(self, node: Node) -> View:
        """What the last token of the node's path sees, whether its KV is stored or not."""
        while not node.tokens:
            assert node.parent is not None
            node = node.parent
        [(_, _, view)] = self.views(node, len(node.tokens) - 1, len(node.tokens))
        return view

    def views(self, node: Node, first: int, last: int) -> Iterator[tuple[int, int, View]]:
        """(first, last, view) of the runs of equal view among tokens [first, last) of a node."""
        changes = self._read(node, last).changes
        index = bisect_right(changes, first, key=lambda change: change[0])
        while first < last:
            end = min(last, changes[index][0]) if index < len(changes) else last
            yield first, end, changes[index - 1][1]
            first, index = end, index + 1

    def spans(self, new: Iterable[tuple[Node, int, int]]) -> Spans | None:
        """What the rows of a step see; None where every row sees its whole path.

        new: (node, number of new tokens, which are its last stored ones, first row of these), of all nodes with rows.
        """
        columns: list[tuple[int, int, int, int]] = []
        whole = True
        for node, num_new, row in new:
            old = node.num_cached - num_new
            for first, last, (earlier, own) in self.views(node, old, node.num_cached):
                lo, hi = row + first - old, row + last - old
                whole = whole and not own
                columns += [(lo, hi, begin, end) for begin, end in earlier]
                columns.append((lo, hi, own, OPEN))
        return None if whole else Spans(*np.array(columns, dtype=np.int32).T)

    def _read(self, node: Node, num_tokens: int) -> Reading:
        """The node's reading, of at least its first `num_tokens` tokens."""
        lacking = []  # nodes above whose end has not been read
        above = node.parent
        assert above is not None
        while above.parent is not None and not _whole(above):
            lacking.append(above)
            above = above.parent
        state = self._policy.start() if above.parent is None else above.reading.state
        for each in reversed(lacking):
            state = self._advance(each, state, len(each.tokens)).state
        return self._advance(node, state, num_tokens)

    def _advance(self, node: Node, above: Any, num_tokens: int) -> Reading:
        """above: the state behind the node's parent."""
        reading: Reading | None = node.reading
        if reading is None or reading.is_stale(node):
            node.reading = reading = Reading(above)
        read, changes = self._policy.read, reading.changes
        for index in range(len(reading.tokens), num_tokens):
            reading.state, view = read(reading.state, node.tokens[index], node.start + index)
            if not changes or changes[-1][1] != view:
                changes.append((index, view))
        reading.tokens += node.tokens[len(reading.tokens) : num_tokens]
        return reading


def _whole(node: Node) -> bool:
    return node.reading is not None and len(node.reading.tokens) == len(node.tokens)
