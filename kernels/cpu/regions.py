"""Which tokens of which nodes are attended by which rows at a time, on torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from treereason.kernels.plan import Int32, Plan

Int = npt.NDArray[np.signedinteger[Any]]
ROW_BLOCK = 64
LARGE_PRODUCT = 4096
"""From so many scores per head on, a region is worth torch calls of its own."""


@dataclass(frozen=True)
class Regions:
    """Region i is the tokens [first, first + tokens) of a node, attended by rows [lo, hi). Host int32, one entry each.

    causal: 0 or 1. Where 1, row lo + i sees the tokens up to first + i; otherwise, unless a mask is made, rows see all.
    """

    node: Int32
    lo: Int32
    hi: Int32
    first: Int32
    tokens: Int32
    causal: Int32

    def take(self, index: Int) -> Regions:
        """The regions at these indices, in that order."""
        return Regions(*(column[index] for column in vars(self).values()))


def cut_regions(plan: Plan, *, masks: bool) -> Regions:
    """Every node that a row reads, cut where that saves work.

    Without masks, a long node with many new tokens of its own is cut into what its rows see whole, the square of its
    new tokens, and what the rows below it see. With masks, its rows are cut into blocks that leave out the tokens
    after them.
    """
    node = np.flatnonzero((plan.node_hi > plan.node_lo) & (plan.node_tokens > 0)).astype(np.int32)
    lo, hi, tokens = plan.node_lo[node], plan.node_hi[node], plan.node_tokens[node]
    zero = np.zeros_like(node)
    regions = Regions(node, lo, hi, zero, tokens, zero)
    large = (hi - lo > 2 * ROW_BLOCK) if masks else ((hi - lo) * tokens > LARGE_PRODUCT)
    large &= plan.row_position[lo] < plan.node_start[node] + tokens - 1  # its own rows, and more than one
    if not large.any():
        return regions
    cut: list[tuple[int, int, int, int, int, int]] = []
    for i in np.flatnonzero(large).tolist():
        cut += _blocks(plan, int(node[i])) if masks else _square(plan, int(node[i]))
    kept = vars(regions.take(np.flatnonzero(~large))).values()
    return Regions(*np.concatenate([np.stack(list(kept), axis=1), np.array(cut, dtype=np.int32)]).T)


def _square(plan: Plan, node: int) -> list[tuple[int, int, int, int, int, int]]:
    lo, hi, tokens = int(plan.node_lo[node]), int(plan.node_hi[node]), int(plan.node_tokens[node])
    end = int(plan.node_start[node]) + tokens
    own = int((plan.row_position[lo:hi] < end).sum())
    old = tokens - own
    regions = [(node, lo, lo + own, old, own, 1)]
    if old:
        regions.append((node, lo, lo + own, 0, old, 0))
    if lo + own < hi:
        regions.append((node, lo + own, hi, 0, tokens, 0))
    return regions


def _blocks(plan: Plan, node: int) -> list[tuple[int, int, int, int, int, int]]:
    regions = []
    for lo in range(int(plan.node_lo[node]), int(plan.node_hi[node]), ROW_BLOCK):
        hi = min(lo + ROW_BLOCK, int(plan.node_hi[node]))
        visible = int(plan.row_position[lo:hi].max() - plan.node_start[node]) + 1
        regions.append((node, lo, hi, 0, min(visible, int(plan.node_tokens[node])), 0))
    return regions
