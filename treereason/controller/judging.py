"""What a judge makes in a tree is told apart from what the search makes there."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import Any, Generic, TypeVar

from treereason.controller.growth import Growth

T = TypeVar("T")


class Judging(Generic[T]):
    """Awaits a coroutine of a judge, during whose turns the growth counts new thoughts as a judge's."""

    def __init__(self, coroutine: Awaitable[T], growth: Growth) -> None:
        self._coroutine = coroutine
        self._growth = growth

    def __await__(self) -> Generator[Any, None, T]:
        steps = self._coroutine.__await__()
        try:
            while True:
                self._growth.by_judge = True
                try:
                    ask = next(steps)
                except StopIteration as stop:
                    result: T = stop.value
                    return result
                finally:
                    self._growth.by_judge = False
                yield ask
        finally:
            steps.close()
