"""A search made of one coroutine function, run over a scripted engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tests.fakes import Outcome, digits, run_search
from treereason.core import (
    Thought,
    Tree,
)


class Search:
    """A search made of one coroutine function."""

    def __init__(self, run: Callable[[Tree], Awaitable[Thought | None]]) -> None:
        self._run = run

    async def run(self, tree: Tree) -> Thought | None:
        return await self._run(tree)


def run(coroutine: Callable[[Tree], Awaitable[Thought | None]], script: Any = digits, **options: Any) -> Outcome:
    return run_search(Search(coroutine), script, **options)
