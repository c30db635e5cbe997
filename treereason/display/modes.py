"""The display modes, and how one is chosen."""

from __future__ import annotations

import os
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.text import Text

from treereason.display.jsonlines import JsonDisplay
from treereason.display.live import RichDisplay
from treereason.display.plain import PlainDisplay
from treereason.display.stopping import announce_stop
from treereason.events import Event


class Mode(StrEnum):
    """auto: rich on a terminal, else plain. json: one object a line on stdout. none: silent."""

    AUTO = "auto"
    RICH = "rich"
    PLAIN = "plain"
    JSON = "json"
    NONE = "none"


class Display(Protocol):
    """A sink of events that shows a run; a context manager, so that the terminal is always given back."""

    def __call__(self, event: Event) -> None: ...

    def stopping(self) -> None:
        """Show that the run is about to stop. For a signal handler: takes no lock, writes into no buffer."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class NoDisplay:
    """Shows nothing."""

    def __call__(self, event: Event) -> None:
        """Ignore the event."""

    def stopping(self) -> None:
        announce_stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to give back."""


def display(mode: str, console: Console | None = None) -> Display:
    """The display for `mode`, one of `Mode`, on `console` (by default stdout).

    "rich" where stdout is no terminal that can redraw becomes "plain", with one line that says so. Raises
    ValueError for another mode.
    """
    console = console or Console()
    chosen = Mode(mode)
    if chosen is Mode.JSON:
        return JsonDisplay(console.file)
    if chosen is Mode.NONE:
        return NoDisplay()
    if chosen is not Mode.PLAIN and can_redraw(console):
        return RichDisplay(console)
    if chosen is Mode.RICH:
        console.print(Text("display=rich needs a terminal, so plain lines follow"), soft_wrap=True)
    return PlainDisplay(console)


def can_redraw(console: Console) -> bool:
    """Whether the console is a terminal that moves its cursor and shows Unicode.

    FORCE_COLOR asks for colours, often in the log of a build: it does not make a file a terminal.
    """
    forced = bool(os.environ.get("FORCE_COLOR"))
    terminal = console.file.isatty() if forced else console.is_terminal
    return terminal and not console.is_dumb_terminal and console.encoding.startswith("utf")
