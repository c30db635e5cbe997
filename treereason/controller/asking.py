"""What a search waits for, and how several of its coroutines wait together."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from treereason.core import Request, Thought

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(eq=False)
class Ask:
    """All that must be decoded and scored before a search goes on. An empty one only lets other searches go on."""

    requests: list[Request] = field(default_factory=list)
    thoughts: list[Thought] = field(default_factory=list)

    def __await__(self) -> Generator[Ask, None, None]:
        yield self

    @property
    def size(self) -> int:
        """How many answers it waits for."""
        return sum(len(request.children) for request in self.requests) + len(self.thoughts)

    def add(self, other: Ask) -> None:
        self.requests += other.requests
        self.thoughts += other.thoughts


class BudgetSpent(BaseException):
    """Ends a search that goes on asking when nothing is left; no `except Exception` of a search keeps it alive."""


class _Forward:
    """Hands on what a coroutine awaited that is not a primitive; the runner makes an error of it."""

    def __init__(self, awaited: object) -> None:
        self._awaited = awaited

    def __await__(self) -> Generator[object, None, None]:
        yield self._awaited


async def gather(awaitables: Iterable[Awaitable[Any]]) -> list[Any]:
    """Results of all, in order. In each round every one runs to its next Ask; then these are answered together."""
    running = {place: awaitable.__await__() for place, awaitable in enumerate(awaitables)}
    results: list[Any] = [None] * len(running)
    try:
        while running:
            together = Ask()
            for place, steps in list(running.items()):
                try:
                    ask = next(steps)
                except StopIteration as stop:
                    results[place] = stop.value
                    del running[place]
                    continue
                if isinstance(ask, Ask):
                    together.add(ask)
                else:
                    await _Forward(ask)
            if running:
                await together
    finally:
        for steps in running.values():
            steps.close()
    return results


class Call:
    """One call of a primitive; `awaited` tells whether the search waited for it. where: file and line of the call."""

    def __init__(self, name: str, where: str, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.name = name
        self.where = where
        self.awaited = False
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        self.awaited = True
        return self._coroutine.__await__()

    def close(self) -> None:
        self._coroutine.close()


class Calls:
    """The calls of primitives that were not awaited yet."""

    def __init__(self) -> None:
        self._calls: list[Call] = []

    def add(self, call: Call) -> None:
        self._calls = [earlier for earlier in self._calls if not earlier.awaited]
        self._calls.append(call)

    def forgotten(self) -> str | None:
        """What to tell of a call that was never awaited; ends it, so that Python does not warn of it as well."""
        found = [call for call in self._calls if not call.awaited]
        for call in found:
            call.close()
        self._calls = []
        if not found:
            return None
        return f"tree.{found[0].name} was never awaited ({found[0].where}): write `await tree.{found[0].name}(...)`"


def primitive(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make calls of a method of SearchTree known to its `calls`, so that a forgotten `await` is found."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> Any:
        tree: Any = args[0]
        caller = sys._getframe(1)
        where = f"{Path(caller.f_code.co_filename).name}, line {caller.f_lineno}"
        made = Call(method.__name__, where, method(*args, **kwargs))
        tree.calls.add(made)
        return made

    return call
