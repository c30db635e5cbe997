"""The softmax of scores, for the searches that share out or draw by it."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, fsum
from random import Random

from treereason.core import Thought
from treereason.search.upper_bounds import value_of


def softmax(values: Sequence[float], temperature: float) -> list[float]:
    """exp(v / temperature) of each value over their sum; they sum to 1. No values, no shares."""
    top = max(values, default=0.0)
    weights = [exp((value - top) / temperature) for value in values]
    total = fsum(weights)
    return [weight / total for weight in weights]


def draw(rng: Random, thoughts: Sequence[Thought], b: int, temperature: float) -> list[Thought]:
    """b scored thoughts, or all where there are fewer, drawn one after another by the softmax of the scores left."""
    left, drawn = list(thoughts), list[Thought]()
    while left and len(drawn) < b:
        shares = softmax([value_of(thought) for thought in left], temperature)
        drawn += rng.choices(left, shares)
        left.remove(drawn[-1])
    return drawn
