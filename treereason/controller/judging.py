"""What a judge makes in a tree is told apart from what the search makes there."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import Any, TypeVar

from treereason.controller.growth import Growth

T = TypeVar("T")


class Judging(Generator[Any, None, T]):
    """Awaits a coroutine of a judge, in whose turns the growth counts new thoughts as a judge's."""

    def __init__(self, coroutine: Awaitable[T], growth: Growth) -> None:
        self._steps = coroutine.__await__()
        self._growth = growth

    def __await__(self) -> Generator[Any, None, T]:
        return self

    def send(self, _: None) -> Any:
        """Go on to what the coroutine waits for next."""
        before = self._growth.by_judge  # a judge may ask another one
        self._growth.by_judge = True
        try:
            return next(self._steps)
        finally:
            self._growth.by_judge = before

    def throw(self, *error: Any) -> Any:
        """Raise an error in the coroutine."""
        return self._steps.throw(*error)

    def close(self) -> None:
        """End the coroutine, whether it has begun, or ended, or not."""
        self._steps.close()
