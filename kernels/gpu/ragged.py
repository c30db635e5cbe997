"""Runs of unequal length in one flat array."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from treereason.kernels.plan import Int32


def rank(counts: Int32) -> Int32:
    """0, 1, ... up to each count, one run after another: [2, 0, 3] gives [0, 1, 0, 1, 2]."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return (np.arange(total) - np.repeat(ends - counts, counts)).astype(np.int32)


def run_starts(changes: npt.NDArray[np.bool_]) -> Int32:
    """[runs] where runs begin in an array of n elements. changes: [n - 1], true between two runs."""
    return i32([0], np.flatnonzero(changes) + 1)


def i32(*parts: npt.ArrayLike) -> Int32:
    """Parts one after another, as int32."""
    return np.concatenate([np.asarray(part) for part in parts]).astype(np.int32)
