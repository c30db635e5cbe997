"""Pictures of the live view and of the final panel, drawn again from the events of a run."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Console, RenderableType
from rich.terminal_theme import TerminalTheme

from treereason.core import Status
from treereason.display import report, view
from treereason.display.state import RunState
from treereason.events import Event, RunDone, RunStarted

MANY = 40
_COLOURS = "484f58 ff7b72 3fb950 d29922 58a6ff bc8cff 39c5cf b1bac4"
_BRIGHT = "6e7681 ffa198 56d364 e3b341 79c0ff d2a8ff 56d4dd f0f6fc"
TimedEvents = Sequence[tuple[float, Event]]


def last_run(events: Iterable[tuple[float, Event]]) -> list[tuple[float, Event]]:
    """The latest run of a journal, which goes on when a folder is used again."""
    run: list[tuple[float, Event]] = []
    for now, event in events:
        if isinstance(event, RunStarted) and event.pass_name == "search":
            run = []
        run.append((now, event))
    return run


def live_svg(events: TimedEvents, width: int = 100, height: int = 30, at: int | None = None) -> str:
    """The live view as SVG after the event number `at`; by default at its most telling moment.

    events: (seconds, event), as `treereason.record.read_timed` gives them. width, height: cells of the terminal.
    """
    moment = most_telling(events) if at is None else at
    state = _state_after(events[: moment + 1])
    snapshot = state.snapshot(events[moment][0], view.tree_height(height), view.max_depth(width))
    return _svg(view.frame(snapshot, width, height), width)


def report_svg(events: Iterable[tuple[float, Event]], width: int = 100) -> str:
    """The final panel as SVG. Raises ValueError when the run has not ended."""
    started = None
    for _, event in events:
        if isinstance(event, RunStarted):
            started = event
        elif isinstance(event, RunDone):
            return _svg(report.panel(event, width, started), width)
    raise ValueError("the events hold no RunDone")


def most_telling(events: TimedEvents) -> int:
    """Index of the event after which the tree on show holds most kinds of thoughts, and most thoughts.

    Moments in which a quarter to three quarters of the problems are done come first.
    """
    state = RunState()
    best, best_rank = 0, (False, -1, -1)
    for index, (now, event) in enumerate(events):
        if isinstance(event, RunStarted) and event.pass_name != "search":
            break
        if isinstance(event, RunStarted):
            state = RunState.begin(event, now)
        else:
            state.apply(event, now)
        if (
            not (state.started and state.started.num_problems)
            or state.current is None
            or state.current.done is not None
        ):
            continue
        counts: Counter[Status] = state.current.counts()
        under_way = 1 <= 4 * len(state.done) / state.started.num_problems <= 3
        rank = (under_way, len(+counts), min(MANY, sum(counts.values())))
        if rank > best_rank:
            best, best_rank = index, rank
    return best


def _state_after(events: TimedEvents) -> RunState:
    state = RunState()
    for now, event in events:
        if isinstance(event, RunStarted):
            state = RunState.begin(event, now)
        else:
            state.apply(event, now)
    return state


def _svg(renderable: RenderableType, width: int) -> str:
    console = Console(width=width, record=True, force_terminal=True, color_system="truecolor", file=io.StringIO())
    console.print(renderable)
    return console.export_svg(title="treereason", theme=_theme())


def _theme() -> TerminalTheme:
    return TerminalTheme(_rgb("0d1117"), _rgb("e6edf3"), _palette(_COLOURS), _palette(_BRIGHT))


def _palette(colours: str) -> list[tuple[int, int, int]]:
    return [_rgb(colour) for colour in colours.split()]


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour)
    return red, green, blue
