"""Pages for a step's KV: when the pool is full, nodes outside the step are evicted for those inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from treereason.engine.kv.eviction import eviction_order
from treereason.engine.kv.forest import Forest, Node


class StepMemory:
    """Pages of one step. Nodes that it has reserved are read or written in the step, and not evicted before it is over.

    running: nodes of the running branches, the oldest branch first. step: its number.
    """

    def __init__(self, forest: Forest, running: Sequence[Node], step: int) -> None:
        self._forest = forest
        self._running = running
        self._step = step
        self._reserved: set[Node] = set()
        self._complete: set[Node] = set()  # reserved, and after this step no token down to them lacks its KV
        self._num_reserved_pages = 0
        self._to_evict: list[Node] | None = None  # the next one last

    @property
    def empty(self) -> bool:
        """Whether nothing is reserved yet, so that the step could have the whole pool."""
        return not self._reserved

    def incomplete_path(self, node: Node) -> list[Node]:
        """The nodes down to this one, without those at the top that are complete already."""
        nodes: list[Node] = []
        while node.parent is not None and node not in self._complete:
            nodes.append(node)
            node = node.parent
        return nodes[::-1]

    def reserve_next_token(self, node: Node) -> bool:
        """Store the next token of a growing node if all above is complete and its last page has a free slot.

        Returns whether it did. The usual case of `reserve` at a third of its cost: a step asks for every branch.
        """
        num_pages = len(node.pages)
        if (
            node.parent not in self._complete
            or node in self._reserved
            or len(node.tokens) != node.num_cached + 1
            or node.num_cached == num_pages * self._forest.page_size
        ):
            return False
        self._num_reserved_pages += num_pages
        self._reserved.add(node)
        self._complete.add(node)
        node.last_used = self._step
        self._forest.compute(node, 1)
        return True

    def reserve(self, path: Sequence[Node], num_new: Mapping[Node, int]) -> int | None:
        """Store the next num_new[node] tokens of nodes on `path`, an incomplete path, and reserve all of it.

        Returns how many of the tokens are computed again after an eviction; None, and changes nothing, when they
        do not fit into the pool beside what is reserved already.
        """
        added = [node for node in path if node not in self._reserved]
        num_pages = sum([len(node.pages) for node in added])
        num_lacking = sum([self._forest.pages_lacking(node, count) for node, count in num_new.items()])
        if self._num_reserved_pages + num_pages + num_lacking > self._forest.pool.num_pages:
            return None
        self._reserved.update(added)
        for node in added:
            node.last_used = self._step
        while self._forest.pool.num_free < num_lacking:
            self._evict_one()
        self._num_reserved_pages += num_pages + num_lacking
        num_rebuilt = sum([self._forest.compute(node, count) for node, count in num_new.items()])
        if not any(node.num_pending for node in path):
            self._complete.update(path)
        return num_rebuilt

    def _evict_one(self) -> None:
        if self._to_evict is None:
            nodes = [node for node in self._forest.nodes() if node.pages and node not in self._reserved]
            self._to_evict = eviction_order(nodes, self._running)[::-1]
        node = self._to_evict.pop()
        if node not in self._reserved and node.pages:
            self._forest.evict(node)
