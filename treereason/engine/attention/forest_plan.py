"""What a step's attention reads: the nodes on the paths of all tokens that it computes, as the kernels' plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from treereason.engine.attention.span_reader import SpanReader
from treereason.engine.kv.forest import Forest, Node
from treereason.kernels.plan import Int32, Plan, make_plan
from treereason.kernels.span_plan import span_plan


@dataclass(frozen=True)
class ForestPlan:
    """A step's plan. nodes: those in it, depth-first. num_new: [V] int32, tokens computed of each.

    The step's rows are the nodes' new tokens, in the same order.
    whole: the plan of whole nodes; `plan` is the same where rows see their whole paths, else that of parts of nodes.
    """

    plan: Plan
    whole: Plan
    nodes: list[Node]
    num_new: Int32

    def rows(self) -> dict[Node, range]:
        """The rows of each node that computes tokens, in the tokens' order."""
        lows, nums = self.whole.node_lo.tolist(), self.num_new.tolist()
        return {node: range(lo, lo + num) for node, lo, num in zip(self.nodes, lows, nums, strict=True) if num}


def forest_plan(
    forest: Forest, num_new: Mapping[Node, int], num_reserved: int = 0, reader: SpanReader | None = None
) -> ForestPlan:
    """The plan of a step that computes the last num_new[node] stored tokens of nodes.

    num_reserved: entries without a page yet that these nodes get behind their last page, to grow into.
    reader: tells what rows see; None where they see their whole paths.
    """
    on_path: set[Node] = set()
    for node in num_new:
        above: Node | None = node
        while above is not None and above not in on_path:
            on_path.add(above)
            above = above.parent
    nodes, subtree_end = _depth_first(forest.root, on_path)
    new_tokens = np.array([num_new.get(node, 0) for node in nodes], dtype=np.int32)
    pages = [node.pages for node in nodes]
    if num_reserved:
        pages = [node.pages + [0] * num_reserved if node in num_new else node.pages for node in nodes]
    plan = make_plan(
        start=np.array([node.start for node in nodes], dtype=np.int32),
        tokens=np.array([node.num_cached for node in nodes], dtype=np.int32),
        new_tokens=new_tokens,
        subtree_end=subtree_end,
        pages=np.array([page for of_node in pages for page in of_node], dtype=np.int32),
        page_offset=np.cumsum([0, *map(len, pages)], dtype=np.int32),
        page_size=forest.page_size,
    )
    new = zip(nodes, new_tokens.tolist(), plan.node_lo.tolist(), strict=True)
    spans = reader and reader.spans(each for each in new if each[1])
    return ForestPlan(span_plan(plan, spans) if spans else plan, plan, nodes, new_tokens)


def _depth_first(root: Node, on_path: set[Node]) -> tuple[list[Node], Int32]:
    """The V nodes of `on_path`, parents first, and for each the index after its subtree, [V] int32."""
    nodes: list[Node] = []
    parents: list[int] = []
    stack: list[tuple[Node, int]] = [(child, -1) for child in reversed(root.children) if child in on_path]
    while stack:
        node, parent = stack.pop()
        index = len(nodes)
        nodes.append(node)
        parents.append(parent)
        stack.extend((child, index) for child in reversed(node.children) if child in on_path)
    subtree_end = np.arange(1, len(nodes) + 1, dtype=np.int32)
    for index in range(len(nodes) - 1, -1, -1):
        if parents[index] >= 0:
            subtree_end[parents[index]] = max(subtree_end[parents[index]], subtree_end[index])
    return nodes, subtree_end
