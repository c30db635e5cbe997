"""How many rows of drafts a step is worth: what steps of so many rows take, measured as the run goes."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Steps are measured by number of rows, rounded up to one of these."""
FREE_ROWS = 32
"""Guess for sizes that were never measured: so many rows more double a step's time."""
WEIGHT = 0.2
OUTLIER = 2.0
"""A step that takes longer than this many times the mean counts as such: the machine was busy otherwise."""
FEW = 8
TRIALS = 2
"""Steps of either kind that are seen before one is preferred."""
EVERY, RAREST, TRIAL_STEPS = 32, 512, 2
"""After so many steps the other kind is tried again; each time that it is worse, after twice as many. Of two steps the
first one reads what was written meanwhile, and is not counted."""


@dataclass
class _Mean:
    """Of the latest values; the first ones have the same weight."""

    value: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        self.count += 1
        if self.count > 1:
            value = min(value, OUTLIER * self.value)
        self.value += max(WEIGHT, 1 / self.count) * (value - self.value)


@dataclass
class _Paces:
    """Milliseconds a token, of steps with as many branches. drafted, plain: where drafts were asked for, or not."""

    drafted: _Mean = field(default_factory=_Mean)
    plain: _Mean = field(default_factory=_Mean)
    prefers_drafted: bool = False
    since: int = 0
    every: int = EVERY


class RowBudget:
    """Tells when to ask for drafts, and which of their rows to compute: those that bring most tokens a second.

    Steps with drafts and without are compared by what they took, so that all is counted that drafts cost: their rows,
    and what it takes to find them.
    """

    def __init__(self) -> None:
        self._ms: dict[int, _Mean] = {}
        self._sizes: list[int] = []
        self._paces: dict[int, _Paces] = {}
        self._asked = self._asked_before = False
        self._prefers_drafted = True

    def asks(self, num_branches: int) -> bool:
        """Whether the step is to have drafts; called once a step."""
        paces = self._of(num_branches)
        self._asked_before = self._asked
        if paces.drafted.count < TRIALS or paces.plain.count < TRIALS:
            # What was better with another number of branches is tried first.
            self._asked = paces.prefers_drafted == (self._first(paces).count < TRIALS)
            return self._asked
        drafted_is_better = paces.drafted.value < paces.plain.value
        if drafted_is_better != paces.prefers_drafted:
            paces.prefers_drafted, paces.since, paces.every = drafted_is_better, 0, EVERY
        self._prefers_drafted = drafted_is_better
        paces.since += 1
        if paces.since > paces.every + TRIAL_STEPS:
            paces.since, paces.every = 1, min(RAREST, 2 * paces.every)
        self._asked = drafted_is_better == (paces.since <= paces.every)
        return self._asked

    def _of(self, num_branches: int) -> _Paces:
        size = _size(num_branches)
        if size not in self._paces:
            self._paces[size] = _Paces(prefers_drafted=self._prefers_drafted)
        return self._paces[size]

    def _first(self, paces: _Paces) -> _Mean:
        return paces.drafted if paces.prefers_drafted else paces.plain

    def measure(self, num_rows: int, num_branches: int, num_tokens: int, ms: float) -> None:
        """The step had so many rows, each with logits, drew so many tokens, and took so long."""
        if self._asked and not self._asked_before:
            return
        size = _size(num_rows)
        if size not in self._ms:
            self._ms[size] = _Mean()
            insort(self._sizes, size)
        self._ms[size].add(ms)
        paces = self._of(num_branches)
        (paces.drafted if self._asked else paces.plain).add(ms / num_tokens)

    def ms(self, num_rows: int) -> float:
        """What a step of so many rows takes: between two that were measured, on the line between them."""
        sizes = self._sizes
        if not sizes:
            return 1.0 + num_rows / FREE_ROWS
        place = bisect_left(sizes, num_rows)
        if 0 < place < len(sizes):
            low, high = sizes[place - 1], sizes[place]
            share = (num_rows - low) / (high - low)
            return self._ms[low].value + share * (self._ms[high].value - self._ms[low].value)
        near = sizes[min(place, len(sizes) - 1)]
        return self._ms[near].value * (FREE_ROWS + num_rows) / (FREE_ROWS + near)

    def choose(self, num_rows: int, num_branches: int, chances: Sequence[float]) -> int:
        """How many rows of drafts to compute beside `num_rows` others. chances: of each row that could be, falling.

        A token is worth what one takes in the best step of branches alone; rows of prompts make no token cheaper.
        """
        brings = [0.0, *accumulate(chances)]
        counts = [0, *_counts(num_branches, len(chances))]
        pace = max((num_branches + brings[count]) / self.ms(num_branches + count) for count in counts)
        return max(counts, key=lambda count: brings[count] / pace - self.ms(num_rows + count))


def _size(num_rows: int) -> int:
    return SIZES[min(bisect_left(SIZES, num_rows), len(SIZES) - 1)]


def _counts(num_branches: int, most: int) -> list[int]:
    """Numbers of rows to compare: all small ones, and those that fill up a size."""
    found = {count for count in range(1, FEW + 1) if count <= most}
    return sorted(found | {size - num_branches for size in SIZES if num_branches < size <= num_branches + most})
