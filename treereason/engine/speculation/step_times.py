"""What steps take by number of rows, measured as a run goes."""

from __future__ import annotations

from bisect import bisect_left, insort

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Steps are measured by number of rows, rounded up to one of these."""
FREE_ROWS = 32
"""Guess for sizes that were never measured: so many rows more double a step's time."""
WEIGHT = 0.2
OUTLIER = 2.0
"""A step that takes longer than this many times the mean counts as such: the machine was busy otherwise."""


class StepTimes:
    """Milliseconds of steps: of each size a mean of the latest, the first ones with the same weight."""

    def __init__(self) -> None:
        self._means: dict[int, float] = {}
        self._counts: dict[int, int] = {}
        self._sizes: list[int] = []

    def add(self, num_rows: int, ms: float) -> float:
        """The step had so many rows and took so long. Returns what counts of it."""
        size = size_of(num_rows)
        if size not in self._means:
            insort(self._sizes, size)
            self._means[size], self._counts[size] = ms, 1
            return ms
        self._counts[size] += 1
        ms = min(ms, OUTLIER * self._means[size])
        self._means[size] += max(WEIGHT, 1 / self._counts[size]) * (ms - self._means[size])
        return ms

    def count(self, num_rows: int) -> int:
        """Of how many steps of this size a mean is known."""
        return self._counts.get(size_of(num_rows), 0)

    def ms(self, num_rows: int) -> float:
        """What a step of so many rows takes: between two sizes that were measured, on the line between them."""
        sizes = self._sizes
        if not sizes:
            return 1.0 + num_rows / FREE_ROWS
        place = bisect_left(sizes, num_rows)
        if 0 < place < len(sizes):
            low, high = sizes[place - 1], sizes[place]
            share = (num_rows - low) / (high - low)
            return self._means[low] + share * (self._means[high] - self._means[low])
        near = sizes[min(place, len(sizes) - 1)]
        return self._means[near] * (FREE_ROWS + num_rows) / (FREE_ROWS + near)


def size_of(num_rows: int) -> int:
    """The size that a number of rows counts as."""
    return SIZES[min(bisect_left(SIZES, num_rows), len(SIZES) - 1)]
