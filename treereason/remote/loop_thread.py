"""An asyncio loop in a thread of its own, for callers that are not coroutines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for callers that wait for them.

    A thread of its own, because the caller's thread may have a running loop already, as in a notebook, and asyncio
    refuses to run a second one there.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        # A daemon: an engine that was not closed must not keep the program from ending.
        self._thread = threading.Thread(target=self._turn, name=name, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result, or what it raises. The caller waits; tasks of the loop go on meanwhile."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def start(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that goes on by itself. Any thread may look at it; only the loop may cancel it."""

        async def start() -> asyncio.Task[T]:
            return asyncio.create_task(coroutine)

        return self.run(start())

    def cancel(self, tasks: list[asyncio.Task[T]]) -> None:
        """Cancel the tasks, and wait until they have ended."""

        async def cancel() -> None:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

        if tasks:
            self.run(cancel())

    def close(self) -> None:
        """Cancel all tasks and end the thread. Closing twice does nothing."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join()

    def _turn(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:  # its end cancels the tasks that are left
            runner.run(self._closing.wait())
