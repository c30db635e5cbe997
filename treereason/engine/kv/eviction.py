"""Which nodes lose their pages when a step needs room and the pool is full: the one place to change it.

An evicted node keeps its token ids, so whoever needs it again computes it again in one prefill, and no answer depends
on this order. It decides how many tokens are computed twice (`tokens_rebuilt` in the step's figures).
tests/engine/kv/test_eviction.py holds the order as it is; test_engine_machine.py that no order changes an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from treereason.engine.kv.forest import Node


def eviction_order(nodes: Iterable[Node], running: Sequence[Node]) -> list[Node]:
    """The nodes in the order in which they are evicted, until there is room.

    First those that no running branch reads (finished thoughts, shared prefixes, prompts that are half computed), the
    least recently used first; then those of running branches, the youngest branch's first. Below before above.

    nodes: all that have pages, depth-first, but for those of the step so far, which nothing may evict.
    running: nodes of the running branches, the oldest branch first.
    """
    oldest_reader: dict[Node, int] = {}
    for age, branch in enumerate(running):
        for node in branch.path():
            oldest_reader.setdefault(node, age)
    nobody = len(running)
    order = list(nodes)[::-1]  # of equals, the last in depth-first order goes first
    order.sort(key=lambda node: (-oldest_reader.get(node, nobody), node.last_used, -node.start))
    return order
