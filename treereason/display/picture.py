"""Pictures of the live view and of the report, drawn again from the events of a run."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from rich.console import Console, RenderableType
from rich.terminal_theme import TerminalTheme

from treereason.display import report, view
from treereason.display.state import RunState
from treereason.events import Event, RunDone, RunStarted

_COLOURS = "484f58 ff7b72 3fb950 d29922 58a6ff bc8cff 39c5cf b1bac4"
_BRIGHT = "6e7681 ffa198 56d364 e3b341 79c0ff d2a8ff 56d4dd f0f6fc"
TimedEvents = Sequence[tuple[float, Event]]
"""(seconds, event), as `treereason.record.read_timed` gives them."""


def live_svg(events: TimedEvents, width: int = 100, height: int = 30, at: int | None = None) -> str:
    """The live view as SVG after event number `at` (from 0), by default in the middle of the run.

    width, height: cells of the terminal. Raises ValueError when there is no such event.
    """
    at = len(events) // 2 if at is None else at
    if not 0 <= at < len(events):
        raise ValueError(f"event {at}: the run has {len(events)} events")
    state = RunState()
    for now, event in events[: at + 1]:
        state = state.apply(event, now)
    snapshot = state.snapshot(now, view.rows_for_thoughts(height), view.max_depth(width))
    return _svg(view.frame(snapshot, width, height), width)


def report_svg(events: Iterable[tuple[float, Event]], width: int = 100) -> str:
    """The report as SVG, `width` cells wide. Raises ValueError when the run has not ended."""
    started = None
    for _, event in events:
        if isinstance(event, RunStarted):
            started = event
        elif isinstance(event, RunDone):
            return _svg(report.panel(event, width, started, fold=True), width)
    raise ValueError("the run has not ended: there is no RunDone among its events")


def _svg(renderable: RenderableType, width: int) -> str:
    console = Console(width=width, record=True, force_terminal=True, color_system="truecolor", file=io.StringIO())
    console.print(renderable)
    theme = TerminalTheme(_rgb("0d1117"), _rgb("e6edf3"), _palette(_COLOURS), _palette(_BRIGHT))
    return console.export_svg(title="treereason", theme=theme)


def _palette(colours: str) -> list[tuple[int, int, int]]:
    return [_rgb(colour) for colour in colours.split()]


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour)
    return red, green, blue
