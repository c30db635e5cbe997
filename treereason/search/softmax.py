"""The softmax of scores, for the searches that share out or draw by it."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, fsum


def softmax(values: Sequence[float], temperature: float) -> list[float]:
    """exp(v / temperature) of each value over their sum; they sum to 1. No values, no shares."""
    top = max(values, default=0.0)
    weights = [exp((value - top) / temperature) for value in values]
    total = fsum(weights)
    return [weight / total for weight in weights]
