"""StepMemory for a step's KV within the pool: what is cold makes way for what computes now.

Evicted are, in this order: nodes that no running branch stands on, least recently used first (finished thoughts,
heads, half-computed prompts); then nodes of running branches, the youngest branch's first. An evicted node keeps its
tokens, so whoever needs it again computes it again in one prefill, and no answer depends on the size of the pool.
"""

from __future__ import annotations

from collections.abc import Sequence

from treereason.engine.kv.forest import Forest, Node


class StepMemory:
    """Pages of one step. Nodes that are `taken` belong to the step and are safe until it is over."""

    def __init__(self, forest: Forest, running: Sequence[Node], step: int) -> None:
        self._forest = forest
        self._running = running
        self._step = step
        self._taken: set[Node] = set()
        self._whole: set[Node] = set()
        self._num_taken_pages = 0
        self._victims: list[Node] | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing has been taken yet, so that the whole pool is there to be had."""
        return not self._taken

    def rest_of_path(self, node: Node) -> list[Node]:
        """The nodes down to this one, but for those at the top that were taken with all their KV."""
        nodes: list[Node] = []
        while node.parent is not None and node not in self._whole:
            nodes.append(node)
            node = node.parent
        return nodes[::-1]

    def take_next(self, node: Node) -> bool:
        """Store the next token of a growing node, if all above it is taken and its last page has room; else nothing.

        What `take` would do in the usual case, at a third of its cost: a step asks for every branch.
        """
        num_pages = len(node.pages)
        if (
            node.parent not in self._whole
            or node in self._taken
            or len(node.tokens) != node.num_cached + 1
            or node.num_cached == num_pages * self._forest.page_size
        ):
            return False
        self._num_taken_pages += num_pages
        self._taken.add(node)
        self._whole.add(node)
        node.last_used = self._step
        self._forest.compute(node, 1)
        return True

    def take(self, path: Sequence[Node], counts: dict[Node, int]) -> int | None:
        """Store the next `counts[node]` tokens of nodes on `path`, the rest of one, and keep all of it for this step.

        Returns how many of the tokens are computed again after an eviction; None, and changes nothing, when the pool
        has no room beside what is already taken.
        """
        new = [node for node in path if node not in self._taken]
        held = sum([len(node.pages) for node in new])
        lacking = sum([self._forest.pages_lacking(node, count) for node, count in counts.items()])
        if self._num_taken_pages + held + lacking > self._forest.pool.num_pages:
            return None
        self._taken.update(new)
        for node in new:
            node.last_used = self._step
        while self._forest.pool.num_free < lacking:
            self._evict_one()
        self._num_taken_pages += held + lacking
        num_rebuilt = sum([self._forest.compute(node, count) for node, count in counts.items()])
        if not any(node.num_pending for node in path):
            self._whole.update(path)
        return num_rebuilt

    def _evict_one(self) -> None:
        if self._victims is None:
            self._victims = self._by_value()
        node = self._victims.pop()
        if node not in self._taken and node.pages:
            self._forest.evict(node)

    def _by_value(self) -> list[Node]:
        """Nodes with pages, the most dispensable last."""
        oldest: dict[Node, int] = {}
        for age, branch in enumerate(self._running):
            for node in branch.path():
                oldest.setdefault(node, age)
        never = len(self._running)
        nodes = [node for node in self._forest.nodes() if node.pages and node not in self._taken]
        return sorted(nodes, key=lambda node: (oldest.get(node, never), -node.last_used, node.start))
