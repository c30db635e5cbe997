"""Draws from what is believed of a mean score, after some scores were seen (Thompson sampling)."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum, hypot, sqrt
from random import Random


def gaussian(rng: Random, seen: Sequence[float]) -> float:
    """A mean from the normal-inverse-gamma posterior; its prior has m 0, kappa 1, nu 1 and tau^2 0.1."""
    n = len(seen)
    mean = fsum(value / n for value in seen)  # divided first, and no squares: scores may be as large as floats are
    deviation = hypot(sqrt(0.1), sqrt(n / (1 + n)) * mean, *(value - mean for value in seen))
    return rng.gauss(n / (1 + n) * mean, deviation / sqrt(2 * rng.gammavariate((1 + n) / 2, 1.0) * (1 + n)))


def beta(rng: Random, seen: Sequence[float]) -> float:
    """A mean from the beta posterior, for scores from 0 to 1; its prior is that of Jeffreys.

    Raises ValueError for a score outside of that.
    """
    if outside := next((value for value in seen if not 0 <= value <= 1), None):
        raise ValueError(f"a score of {outside:g}: search.posterior=beta is for scores from 0 to 1; take gaussian")
    return rng.betavariate(0.5 + fsum(seen), 0.5 + fsum(1 - value for value in seen))
