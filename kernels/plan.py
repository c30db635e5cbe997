"""The plan: a token forest as a few int32 arrays that every attention implementation reads.

Rows are the query tokens of one step, ordered depth-first: a node's own new tokens first, then the rows of its
subtree. So the rows below a node are an interval [lo, hi), and one rule says what a row may see:

    row r sees token t of node v  <=>  lo[v] <= r < hi[v]  and  position[t] <= position[r]

Decode is one row per branch; prefill and token trees are several. Causality needs no mask of its own: along a
path positions only grow. DeFT (arXiv 2404.00242, section 3) marks the same with one bit per branch and chunk of KV.
Where rows see parts of nodes, these parts are listed in the nodes' place (span_plan.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

Int32 = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Plan:
    """Arrays of one step. N rows, V nodes (depth-first, parents first), P pages. Host int32.

    row_position: [N] position of the row's token along its branch, from 0.
    row_slot: [N] KV slot (page * page_size + offset) where the row's own K and V are stored.
    node_lo, node_hi: [V] rows at or below the node.
    node_start: [V] position of the node's first token.
    node_tokens: [V] tokens of the node whose KV is readable in this step, the step's new ones included.
    node_offset: [V] slots of the node's first page in front of its first token; 0 but for parts of nodes.
    node_page: [V + 1] the node's pages are pages[node_page[v]:node_page[v + 1]], in token order.
    pages: [P] page numbers.
    """

    row_position: Int32
    row_slot: Int32
    node_lo: Int32
    node_hi: Int32
    node_start: Int32
    node_tokens: Int32
    node_offset: Int32
    node_page: Int32
    pages: Int32
    page_size: int

    @property
    def num_rows(self) -> int:
        """N, query tokens of the step."""
        return len(self.row_position)

    @property
    def num_nodes(self) -> int:
        """V, all nodes on a path to some row."""
        return len(self.node_lo)

    @property
    def kv_tokens_read_tree(self) -> int:
        """KV tokens read when each node is read once for all rows of its interval."""
        return int(self.node_tokens[self.node_hi > self.node_lo].sum())

    def slots(self, node: int) -> Int32:
        """[n_v] KV slots of a node's readable tokens, in order."""
        pages = self.pages[self.node_page[node] : self.node_page[node + 1]]
        within = np.arange(self.page_size, dtype=np.int32)
        slots: Int32 = np.add.outer(pages * self.page_size, within).reshape(-1)
        first = self.node_offset[node]
        return slots[first : first + self.node_tokens[node]]


def make_plan(
    *,
    start: Int32,
    tokens: Int32,
    new_tokens: Int32,
    subtree_end: Int32,
    pages: Int32,
    page_offset: Int32,
    page_size: int,
) -> Plan:
    """Plan of a step from a forest given in depth-first order.

    start, tokens, new_tokens: [V] first position, readable tokens, and how many of these (the last ones) are
        this step's rows.
    subtree_end: [V] index of the first node after the node's subtree.
    pages, page_offset: [P] pages of all nodes one after another, and [V + 1] where each node's begin.
    page_size: tokens per page. All arrays are int32; what a caller passes is kept, not copied.
    """
    before = np.concatenate([[0], np.cumsum(new_tokens)]).astype(np.int32)
    row_node = np.repeat(np.arange(len(tokens), dtype=np.int32), new_tokens)
    rank = np.arange(len(row_node), dtype=np.int32) - before[row_node]
    offset = tokens[row_node] - new_tokens[row_node] + rank
    page = pages[page_offset[row_node] + offset // page_size]
    return Plan(
        row_position=start[row_node] + offset,
        row_slot=page * page_size + offset % page_size,
        node_lo=before[:-1],
        node_hi=before[subtree_end],
        node_start=start,
        node_tokens=tokens,
        node_offset=np.zeros_like(tokens),
        node_page=page_offset,
        pages=pages,
        page_size=page_size,
    )


def kv_pool(
    num_slots: int, num_kv_heads: int, head_dim: int, *, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Uninitialised keys or values of one layer, [num_slots, Hkv, D]; the slots of one head lie contiguous."""
    return torch.empty(num_kv_heads, num_slots, head_dim, dtype=dtype, device=device).transpose(0, 1)
