"""The live display of a terminal or notebook: redrawn a few times per second from a snapshot, beside the run."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from threading import Lock
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.highlighter import NullHighlighter
from rich.live import Live
from rich.logging import RichHandler
from rich.text import Text

from treereason.display import report, view
from treereason.display.base import Display, logs_to
from treereason.display.state import RunState
from treereason.events import Event, RunDone, RunStarted
from treereason.text import printable

FRAMES_PER_SECOND = 8
LONGEST_LOG_LINE = 1000


class RichDisplay(Display):
    """Shows the thoughts of one problem, progress and the engine; at the end a panel that says what happened.

    A thread of rich draws the frames, so that a long engine step does not stop the clock.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = Lock()
        self._state = RunState()
        self._rows = 0
        self._stopping = False
        self._run_done: RunDone | None = None
        self._open = ExitStack()

    def __call__(self, event: Event) -> None:
        with self._lock:
            if isinstance(event, RunDone):
                self._run_done = event
            elif isinstance(event, RunStarted):
                self._rows = 0
            self._state = self._state.apply(event, time.monotonic())

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
        self._open.enter_context(logs_to(_LogLines(self._console)))
        self._open.enter_context(live)
        return self

    def close(self) -> None:
        """Give the terminal back, and print the report of a run that said how it ended."""
        self._open.close()
        if self._run_done is not None:
            # Uncropped, for the commands below the panel.
            self._console.print(report.panel(self._run_done, self._console.width, self._state.started), crop=False)
            self._run_done = None

    def frame(self) -> RenderableType:
        """What the terminal shows at this moment."""
        width, height = self._console.size
        most_rows = view.rows_for_thoughts(height)
        with self._lock:
            if self._state.started is None:
                return Text()
            snapshot = self._state.snapshot(time.monotonic(), most_rows, view.max_depth(width))
        self._rows = min(most_rows, max(self._rows, snapshot.viewport.height))
        frame = view.frame(snapshot, width, height, self._rows, self._stopping)
        return Group(frame, Text())  # terminals echo ^C at the end, and behind a full line it would take a new one


class _LogLines(RichHandler):
    """Prints log lines above the live view, their text made safe: it may quote a model."""

    def __init__(self, console: Console) -> None:
        super().__init__(console=console, show_path=False, markup=False, highlighter=NullHighlighter())

    def render_message(self, record: logging.LogRecord, message: str) -> Text:  # noqa: ARG002
        return Text("\n").join(Text(printable(line, LONGEST_LOG_LINE)) for line in message.splitlines())
