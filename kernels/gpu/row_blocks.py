"""Row blocks: runs of rows that one query tile holds, cut where the least is read twice."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from treereason.kernels.gpu.ragged import i32
from treereason.kernels.plan import Int32, Plan

Int64 = npt.NDArray[np.int64]
_COUNT = np.arange(4096, dtype=np.float32)


def shared_tokens(plan: Plan) -> Int64:
    """[N + 1] tokens that rows r - 1 and r both see; 0 at both ends."""
    change = np.bincount(plan.node_lo + 1, weights=plan.node_tokens, minlength=plan.num_rows + 2)
    change -= np.bincount(np.maximum(plan.node_hi, plan.node_lo + 1), weights=plan.node_tokens, minlength=len(change))
    return np.cumsum(change[: plan.num_rows + 1]).astype(np.int64)


def widest_tree(plan: Plan) -> int:
    """Rows of the tree that has most: what a query tile should hold."""
    return int(np.diff(np.flatnonzero(shared_tokens(plan) == 0)).max())


def row_blocks(shared: Int64, block_rows: int) -> Int32:
    """[B + 1] edges of the row blocks: at most `block_rows` rows each, cut where the least is read twice.

    shared: [N + 1] of `shared_tokens`.
    Cutting between two rows makes both sides read what the rows share, so trees are never joined, and inside a tree
    a cut moves to the fork that costs least per row of its block; where none is better, blocks come out even.
    """
    trees = np.flatnonzero(shared == 0)  # [trees + 1] edges between rows that share nothing
    large = np.flatnonzero(np.diff(trees) > block_rows)
    extra: list[int] = []
    for tree in large.tolist():
        lo, hi = int(trees[tree]), int(trees[tree + 1])
        even = -(-(hi - lo) // -(-(hi - lo) // block_rows))
        while hi - lo > even:
            per_row = shared[lo + 1 : lo + even + 1] / _COUNT[1 : even + 1]
            lo += even - int(per_row[::-1].argmin())
            extra.append(lo)
    return np.sort(i32(trees, extra)) if extra else trees.astype(np.int32)
