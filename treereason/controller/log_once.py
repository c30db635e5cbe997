"""What is worth one line in the log of a run, however often it comes up."""

from __future__ import annotations

import logging

_log = logging.getLogger(__name__)


class LogOnce:
    """Logs a message as a warning the first time, and never again."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def __call__(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            _log.warning(message)
