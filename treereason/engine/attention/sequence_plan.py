"""The plan of an engine that knows sequences only: what branches share is read once per branch. For comparison."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from treereason.kernels.plan import Int32, Plan


def each_branch_alone(plan: Plan, num_new: Int32) -> Plan:
    """The same rows and KV, but each node that computes tokens has all that its rows see listed for them alone.

    num_new: how many tokens are computed of each node of the forest, depth-first.
    """
    edges = np.cumsum([0, *num_new[num_new > 0]], dtype=np.int32)
    lo = np.maximum(plan.node_lo, edges[:-1, None])
    hi = np.minimum(plan.node_hi, edges[1:, None])
    owner, node = np.nonzero((lo < hi) & (plan.node_tokens > 0))
    pages = [plan.pages[plan.node_page[i] : plan.node_page[i + 1]] for i in node]
    return replace(
        plan,
        node_lo=lo[owner, node],
        node_hi=hi[owner, node],
        node_start=plan.node_start[node],
        node_tokens=plan.node_tokens[node],
        node_offset=plan.node_offset[node],
        node_page=np.cumsum([0, *map(len, pages)], dtype=np.int32),
        pages=np.concatenate(pages),
    )
