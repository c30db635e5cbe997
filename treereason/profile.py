"""Where a run's time goes. Standard library only."""

from __future__ import annotations

from collections import defaultdict
from time import perf_counter


class Profile:
    """Seconds by part. Parts may lie inside one another: each counts only the time that no inner part took."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inner = [0.0]

    def measure(self, part: str) -> _Part:
        """A context that adds its time to the part."""
        return _Part(self, part)

    def begin(self) -> float:
        """Begin an inner part; returns the moment."""
        self._inner.append(0.0)
        return perf_counter()

    def end(self, part: str, start: float) -> None:
        """End the part that began last."""
        took = perf_counter() - start
        self.seconds[part] += took - self._inner.pop()
        self._inner[-1] += took

    def shares(self) -> dict[str, float]:
        """Share of each part in the measured time, largest first."""
        total = sum(self.seconds.values())
        parts = sorted(self.seconds.items(), key=lambda item: -item[1])
        return {part: seconds / total for part, seconds in parts} if total else {}


class _Part:
    """One part being measured: a class, for a generator as a context costs twice the time, some 10,000 times a run."""

    __slots__ = ("_name", "_profile", "_start")

    def __init__(self, profile: Profile, name: str) -> None:
        self._profile = profile
        self._name = name

    def __enter__(self) -> None:
        self._start = self._profile.begin()

    def __exit__(self, *error: object) -> None:
        self._profile.end(self._name, self._start)
