"""The plan of an engine that knows sequences only: what branches share is read once per branch. For comparison."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from treereason.kernels.plan import Int32, Plan


def each_branch_alone(plan: Plan, num_new: Int32) -> Plan:
    """The same rows and KV, but each node that computes tokens has its whole path listed for its own rows.

    num_new: [V], how many tokens are computed of each node of `plan`, depth-first.
    """
    owners = np.flatnonzero(num_new)
    lows = plan.node_lo[owners]
    above = (plan.node_lo[None] <= lows[:, None]) & (lows[:, None] < plan.node_hi[None]) & (plan.node_tokens > 0)
    owner, node = np.nonzero(above)
    pages = [plan.pages[plan.node_page[i] : plan.node_page[i + 1]] for i in node]
    return replace(
        plan,
        node_lo=lows[owner],
        node_hi=(lows + num_new[owners])[owner],
        node_start=plan.node_start[node],
        node_tokens=plan.node_tokens[node],
        node_page=np.cumsum([0, *map(len, pages)], dtype=np.int32),
        pages=np.concatenate(pages),
    )
