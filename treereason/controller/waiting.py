"""The problems that wait to be started: a list, or what somebody hands out while the run goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from treereason.core import Problem


@runtime_checkable
class Waiting(Protocol):
    """Where the runner gets its problems from."""

    @property
    def more(self) -> bool:
        """Whether another one may still come."""
        ...

    def take(self, *, wait: bool) -> Problem | None:
        """The next one; None when there is none now. wait: there is nothing else to do meanwhile."""
        ...


class Listed:
    """All problems, known from the start."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self._problems = deque(problems)

    @property
    def more(self) -> bool:
        return bool(self._problems)

    def take(self, *, wait: bool) -> Problem | None:  # noqa: ARG002
        return self._problems.popleft() if self._problems else None
