"""The latest run of a journal: what it was to do, what is done, and the records of the problems in its middle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from treereason import events
from treereason.events import Event
from treereason.record.begun_problem import BegunProblem
from treereason.record.journal import Row, read_rows, typed, unreadable

OF_A_RUN = ("run_started", "run_resumed", "run_done")
NOT_OURS = (KeyError, TypeError, ValueError, AttributeError, RecursionError)
"""What fields raise that this program would not have written."""


@dataclass
class BegunPass:
    """One pass over the problems. done: ids of those that came to their end. begun: the others, as far as they came."""

    started: events.RunStarted
    done: set[str] = field(default_factory=set)
    begun: dict[str, BegunProblem] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return len(self.done) >= self.started.num_problems


@dataclass
class BegunRun:
    """passes: by name, in order. status: what its last RunDone said; "" when it was cut off."""

    path: Path
    passes: dict[str, BegunPass] = field(default_factory=dict)
    status: str = ""

    @property
    def started(self) -> events.RunStarted:
        """How its search began."""
        return self.passes["search"].started

    def timed_events(self) -> Iterator[tuple[float, Event]]:
        """(seconds, event) of the run, on a clock that stood while no process was at work."""
        return typed(self.path, _of_last_run(self.path))


def begun_run(path: Path) -> BegunRun | None:
    """The latest run in the journal at `path`; None when it holds none. Raises UserError as `journal.read` does."""
    run = BegunRun(path)
    begun: dict[str, list[Row]] = {}

    def end_pass() -> None:
        for rows in begun.values():
            record = BegunProblem(rows[-1].time - rows[0].time)
            for row in rows:
                try:
                    record.add(row.kind, row.data)
                except NOT_OURS as error:
                    raise unreadable(path, row.id, row.kind, error) from error
            list(run.passes.values())[-1].begun[_problem(path, rows[0])] = record
        begun.clear()

    for row in _of_last_run(path):
        if row.kind in OF_A_RUN:
            [(_, event)] = typed(path, [row])
            if isinstance(event, events.RunStarted):
                end_pass()
                run.passes[event.pass_name] = BegunPass(event)
            run.status = event.status if isinstance(event, events.RunDone) else ""
        elif row.kind == "problem_started":
            begun[row.problem] = [row]
        elif row.kind == "problem_done":
            begun.pop(row.problem, None)
            list(run.passes.values())[-1].done.add(_problem(path, row))
        elif row.kind.startswith("thought_") and row.problem in begun:
            begun[row.problem].append(row)
    end_pass()
    return run if run.passes else None


def _problem(path: Path, row: Row) -> str:
    [(_, event)] = typed(path, [row])
    assert isinstance(event, events.ProblemStarted | events.ProblemDone)
    return event.problem


def _of_last_run(path: Path) -> Iterator[Row]:
    """The rows of the latest run."""
    first = 0
    for row in read_rows(path, kinds=("run_started",)):
        [(_, event)] = typed(path, [row])
        if isinstance(event, events.RunStarted) and event.pass_name == "search":
            first = row.id
    away, last = 0.0, 0.0
    for row in read_rows(path, first) if first else ():
        if row.kind == "run_resumed":
            away += row.time - last
        last = row.time
        yield row._replace(time=row.time - away) if away else row
