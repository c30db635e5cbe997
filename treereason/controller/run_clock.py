"""The clock of a run: it stands while no process is at work on it."""

from __future__ import annotations

import time


class RunClock:
    """Seconds; called as `time.monotonic` is."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._stands_at: float | None = None

    def __call__(self) -> float:
        return self._ahead + time.monotonic() if self._stands_at is None else self._stands_at

    def stands_at(self, moment: float) -> None:
        """Show a moment of the past."""
        self._stands_at = moment

    def goes_on(self) -> None:
        """Go on from the moment that it shows."""
        self._ahead, self._stands_at = self() - time.monotonic(), None
