"""What each row of a plan sees, as lists of slots: the form in which kernels without trees want it."""

from __future__ import annotations

import numpy as np

from treereason.kernels.plan import Int32, Plan


def path(plan: Plan, row: int) -> list[int]:
    """Nodes above and at a row, from the root, those without tokens left out."""
    above = (plan.node_lo <= row) & (row < plan.node_hi) & (plan.node_tokens > 0)
    nodes: list[int] = np.flatnonzero(above).tolist()
    return nodes


def visible_slots(plan: Plan, node: int, row: int) -> Int32:
    """Slots of the node's tokens that the row sees, in order."""
    return plan.slots(node)[: plan.row_position[row] - plan.node_start[node] + 1]


def row_slots(plan: Plan, row: int) -> Int32:
    """Slots of all tokens a row sees, from the root."""
    return np.concatenate([visible_slots(plan, node, row) for node in path(plan, row)])
