"""Code of a user that runs inside a run, and may be left in its middle: it may be in a loop without end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Left(BaseException):
    """Leaves code of a user, because the run ends; no `except Exception` holds it."""


class UserCode:
    """Knows whether searches, tasks and scorers of a user are at work, and when they call back into the run."""

    def __init__(self) -> None:
        self._running = False
        self._to_leave = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Inside, code of a user is at work."""
        self._running = True
        try:
            yield
        finally:
            self._running = False

    def uninterrupted(self, function: Callable[P, T]) -> Callable[P, T]:
        """The function as it is called by code of a user: it ends before that is left."""

        @wraps(function)
        def whole(*args: P.args, **kwargs: P.kwargs) -> T:
            before, self._running = self._running, False
            try:
                return function(*args, **kwargs)
            finally:
                self._running = before
                if before and self._to_leave:
                    raise Left

        return whole

    def leave(self) -> None:
        """Raise Left where code of a user is at work, now or when it is next. May be called in a signal handler."""
        self._to_leave = True
        if self._running:
            raise Left
