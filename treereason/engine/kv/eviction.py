"""Which nodes lose their pages when a step needs pages and the pool is full. To change the order, change this file.

An evicted node keeps its token ids, so it is computed again, in one prefill, when it is needed. No answer depends on
this order. It decides how many tokens are computed twice (`tokens_rebuilt` in the step's figures).
tests/engine/kv/test_eviction.py checks the order, tests/engine/test_engine_machine.py that no order changes an answer.

Of a node that has pages, all above are stored as well, or belong to the step. "Below before above" saves work, because
a node is computed on top of all above it; an order without it gives the same answers. `Node.last_used` is set by
step_memory.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from treereason.engine.kv.forest import Node


def eviction_order(nodes: Iterable[Node], running: Sequence[Node]) -> list[Node]:
    """The nodes in the order in which they are evicted, until enough pages are free.

    First those that no running branch reads (finished thoughts, shared prefixes, prompts that are half computed), the
    least recently used first; then those of running branches, the youngest branch's first. Below before above.

    nodes: all that have pages, depth-first, but for those of the step so far, which nothing may evict.
    running: nodes of the running branches, the oldest branch first.
    """
    oldest_reader: dict[Node, int] = {}
    for age, branch in enumerate(running):
        for node in branch.path():
            oldest_reader.setdefault(node, age)
    unread = len(running)
    order = list(nodes)[::-1]  # of equals, the last in depth-first order goes first
    order.sort(key=lambda node: (-oldest_reader.get(node, unread), node.last_used, -node.start))
    return order
