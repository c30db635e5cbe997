"""Pictures of the live view and of the final panel, drawn again from the events of a run."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Console, RenderableType

from treereason.core import Status
from treereason.display import final, view
from treereason.display.state import RunState
from treereason.events import Event, RunDone, RunStarted

TimedEvents = Sequence[tuple[float, Event]]


def live_svg(events: TimedEvents, width: int = 100, height: int = 30, at: int | None = None) -> str:
    """The live view as SVG after the event number `at`; by default at its most telling moment.

    events: (seconds, event), as `treereason.record.read_timed` gives them. width, height: cells of the terminal.
    """
    moment = most_telling(events) if at is None else at
    state = _replay(events[: moment + 1])
    snapshot = state.snapshot(events[moment][0], view.tree_height(height), view.max_depth(width))
    return _svg(view.frame(snapshot, width, height), width)


def final_svg(events: Iterable[tuple[float, Event]], width: int = 100) -> str:
    """The final panel as SVG. Raises ValueError when the run has not ended."""
    for _, event in events:
        if isinstance(event, RunDone):
            return _svg(final.panel(event, width), width)
    raise ValueError("the events hold no RunDone")


def most_telling(events: TimedEvents) -> int:
    """Index of the event after which the tree on show holds the most kinds of thoughts, and most thoughts."""
    state = RunState()
    best, best_rank = 0, (-1, -1)
    for index, (now, event) in enumerate(events):
        if isinstance(event, RunStarted) and event.pass_name != "search":
            break
        if isinstance(event, RunStarted):
            state = RunState(event, now)
        else:
            state.apply(event, now)
        if not state.done or state.current is None or state.current.done is not None:
            continue
        counts: Counter[Status] = state.current.counts()
        rank = (len(+counts), sum(counts.values()))
        if rank > best_rank:
            best, best_rank = index, rank
    return best


def _replay(events: TimedEvents) -> RunState:
    state = RunState()
    for now, event in events:
        if isinstance(event, RunStarted):
            state = RunState(event, now)
        else:
            state.apply(event, now)
    return state


def _svg(renderable: RenderableType, width: int) -> str:
    console = Console(width=width, record=True, force_terminal=True, color_system="truecolor", file=io.StringIO())
    console.print(renderable)
    return console.export_svg(title="treereason")
