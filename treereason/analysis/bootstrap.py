"""95% intervals of a mean over problems by the percentile bootstrap (Efron and Tibshirani 1993, chapter 13).

Problems are drawn anew with replacement. For a paired comparison the differences of the pairs are drawn, so both runs
keep the same problems in each resample (Koehn 2004, for translations). Draws depend on seed and number of problems
alone: equal inputs give equal intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
LEVEL = 95


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float] | None:
    """Lower and upper end for the mean of `values`; None for fewer than two, which tell nothing of their spread."""
    if len(values) < 2:
        return None
    [pair] = intervals(np.asarray(values, dtype=np.float64)[:, None], seed)
    return pair


def intervals(values: NDArray[np.float64], seed: int = 0, resamples: int = RESAMPLES) -> list[tuple[float, float]]:
    """Of each column the interval of its mean; all columns with the same draws.

    values: [problems, columns].
    """
    means = np.concatenate([counts @ values for counts in _counts(len(values), seed, resamples)]) / len(values)
    low, high = np.percentile(means, ((100 - LEVEL) / 2, (100 + LEVEL) / 2), axis=0)
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def _counts(num: int, seed: int, resamples: int) -> Any:
    """How often each problem was drawn: [rows, num], in pieces of bounded memory."""
    rng = np.random.default_rng(seed)
    rows = max(1, min(resamples, 4_000_000 // max(1, num)))
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        draws = rng.integers(0, num, size=(size, num)) + np.arange(size)[:, None] * num
        yield np.bincount(draws.ravel(), minlength=size * num).reshape(size, num).astype(np.float64)
