"""Where a run's time goes. Standard library only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class Profile:
    """Seconds by part. Parts may lie inside one another: each counts only the time that no inner part took."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inner = [0.0]

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        self._inner.append(0.0)
        start = perf_counter()
        try:
            yield
        finally:
            took = perf_counter() - start
            self.seconds[part] += took - self._inner.pop()
            self._inner[-1] += took

    def shares(self) -> dict[str, float]:
        """Share of each part in the measured time, largest first."""
        total = sum(self.seconds.values())
        parts = sorted(self.seconds.items(), key=lambda item: -item[1])
        return {part: seconds / total for part, seconds in parts} if total else {}
