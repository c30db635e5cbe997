"""Pairs of sets of numbers: random ones, parts of them, and how far an answer is from what they share."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence

from treereason.tasks.lists import runs

Sets = Mapping[str, Sequence[int]]
"""The numbers of the sets called "first" and "second"."""


def draw_sets(rng: random.Random, size: int) -> dict[str, list[int]]:
    """Two sets of `size` numbers below twice the size; none to three quarters of them are shared."""
    numbers = rng.sample(range(2 * size), 2 * size)
    start = size - rng.randint(0, 3 * size // 4)
    return {"first": numbers[:size], "second": rng.sample(numbers[start : start + size], size)}


def shared(sets: Sets) -> set[int]:
    """The intersection of both sets."""
    return set(sets["first"]) & set(sets["second"])


def split_second(sets: Sets, num: int) -> list[dict[str, list[int]]]:
    """The whole first set with each of at most `num` runs of the second one."""
    return [{"first": list(sets["first"]), "second": list(run)} for run in runs(sets["second"], num)]


def num_errors(sets: Sets, answer: Sequence[int]) -> int:
    """Shared numbers that the answer lacks, plus what else it holds: other numbers, and each repeat."""
    wanted, found = Counter(shared(sets)), Counter(answer)
    return ((wanted - found) + (found - wanted)).total()
