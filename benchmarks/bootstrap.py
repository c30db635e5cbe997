"""95% intervals of a mean or a median by the percentile bootstrap (Efron and Tibshirani 1993, chapter 13)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

RESAMPLES = 10_000


def interval(values: Sequence[float], seed: int = 0, of: Callable[..., Any] = np.mean) -> tuple[float, float]:
    """Lower and upper end for the mean of `values`, which are drawn anew with replacement. of: or their np.median.

    For a paired comparison give the differences of the pairs. Raises ValueError without values.
    """
    if not values:
        raise ValueError("a bootstrap needs at least one value")
    given = np.asarray(values, dtype=np.float64)
    draws = np.random.default_rng(seed).integers(0, len(given), size=(RESAMPLES, len(given)))
    low, high = np.percentile(of(given[draws], axis=1), (2.5, 97.5))
    return float(low), float(high)
