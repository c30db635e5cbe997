"""The live display of a terminal: redrawn a few times a second from a snapshot, beside the run."""

from __future__ import annotations

import time
from contextlib import ExitStack
from threading import Lock
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from treereason.display import report, view
from treereason.display.logs import LiveHandler, logs_to
from treereason.display.state import RunState
from treereason.events import Event, RunDone, RunStarted

FRAMES_PER_SECOND = 8


class RichDisplay:
    """Shows the tree of one problem, progress and the engine; at the end a panel that says what happened."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = Lock()
        self._state = RunState()
        self._rows = 0
        self._stopping = False
        self._run_done: RunDone | None = None
        self._open = ExitStack()

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        with self._lock:
            if isinstance(event, RunStarted):
                self._state = RunState.begin(event, now)
                self._rows = 0
            elif isinstance(event, RunDone):
                self._run_done = event
            else:
                self._state.apply(event, now)

    def stopping(self) -> None:
        self._stopping = True  # the next frame shows it

    def __enter__(self) -> Self:
        live = Live(
            get_renderable=self.frame,
            console=self._console,
            refresh_per_second=FRAMES_PER_SECOND,
            transient=True,
            vertical_overflow="crop",
        )
        self._open.enter_context(live)
        self._open.enter_context(logs_to(LiveHandler(self._console)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
        if self._run_done is not None:
            self._console.print(report.panel(self._run_done, self._console.width, self._state.started))

    def frame(self) -> RenderableType:
        """What the terminal shows at this moment."""
        width, height = self._console.size
        room = view.tree_height(height)
        with self._lock:
            if self._state.started is None:
                return Text()
            snapshot = self._state.snapshot(time.monotonic(), room, view.max_depth(width))
        self._rows = min(room, max(self._rows, snapshot.viewport.height))
        shown = view.frame(snapshot, width, height, self._rows, self._stopping)
        return Group(shown, Text())  # terminals echo ^C at the end, and behind a full line it would take a new one
