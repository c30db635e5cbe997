"""The latest run of a folder, read from its journal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from treereason.analysis.recorded_problem import RecordedProblem
from treereason.core import UserError
from treereason.core.given_file import file_name
from treereason.events import Event, ProblemDone, ProblemStarted, RunDone, RunStarted, StepDone
from treereason.record.begun_run import BegunRun
from treereason.record.journal import NAME as JOURNAL
from treereason.record.summary import Summary


@dataclass
class RecordedRun:
    """What the journal of `folder` holds of its latest run.

    problems: of the search pass, in the order in which they started. greedy: of the baseline, by problem.
    steps: (seconds since the start, the step), of both passes. summary: as summary.json has it, of what is recorded.
    timed: all events, each with its seconds since 1970, on a clock that stood while no process was at work.
    versions: of the packages that the run used, where it says so.
    """

    folder: Path
    started: RunStarted
    problems: dict[str, RecordedProblem] = field(default_factory=dict)
    greedy: dict[str, ProblemDone] = field(default_factory=dict)
    steps: list[tuple[float, StepDone]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    timed: list[tuple[float, Event]] = field(default_factory=list)
    versions: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The end of the folder's path, which tells it from its neighbours."""
        return self.folder.name or str(self.folder)

    @property
    def done(self) -> dict[str, ProblemDone]:
        """The problems that were finished."""
        return {name: problem.done for name, problem in self.problems.items() if problem.done is not None}

    def of_search(self, name: str) -> Any:
        """An option of the run's search; None where the journal tells none."""
        options = self.started.config.get("search")
        return options.get(name) if isinstance(options, dict) else None

    @property
    def guide(self) -> str:
        """What the search was guided by: "oracle", "judge", "label-free" or "unmarked".

        A search that asked no scorer, as a vote by majority, is label-free: it read what the model wrote anyway.
        """
        if self.summary.get("oracle_guided"):
            return "oracle"
        bases = set(self.summary.get("guided_by_basis") or ())
        if "judge" in bases:
            return "judge"
        return "label-free" if bases <= {"label_free", "derived"} else "unmarked"

    @property
    def command(self) -> str:
        """What was typed to start it, as far as it is known; "" for a run that Python started."""
        return " ".join([self.started.program, *self.started.overrides]) if self.started.program else ""


def read_run(folder: Path) -> RecordedRun:
    """The latest run in `folder`, or in the folder of the journal that is given.

    Raises UserError when there is no journal that can be read, or no run in it.
    """
    path = folder if folder.name == JOURNAL else folder / JOURNAL
    _check(path)
    return of_events(path.parent, BegunRun(path).timed_events())


def of_events(folder: Path, timed: Iterable[tuple[float, Event]]) -> RecordedRun:
    """A run of its events. Raises UserError without a RunStarted."""
    run: RecordedRun | None = None
    greedy, start, now = False, 0.0, 0.0
    summary = Summary(clock=lambda: now)
    all_timed = list(timed)
    for now, event in all_timed:
        summary(event)
        if isinstance(event, RunStarted):
            greedy = event.pass_name == "greedy"
            if not greedy:
                run, start = RecordedRun(folder, event), now
            continue
        if run is None:
            continue
        if isinstance(event, RunDone):
            versions = event.summary.get("versions")
            run.versions = versions if isinstance(versions, dict) else run.versions
            continue
        if isinstance(event, StepDone):
            run.steps.append((now - start, event))
        elif greedy:
            if isinstance(event, ProblemDone):
                run.greedy[event.problem] = event
        elif isinstance(event, ProblemStarted):
            run.problems[event.problem] = RecordedProblem(event.problem, event.input)
        elif (problem := run.problems.get(getattr(event, "problem", ""))) is not None:
            problem.apply(event)
    if run is None:
        raise UserError(f"{file_name(folder / JOURNAL)} holds no run")
    run.summary, run.timed = summary.as_dict(), all_timed
    return run


def _check(path: Path) -> None:
    try:
        found = path.is_file()
    except OSError as error:
        raise UserError(f"cannot read {file_name(path)}: {error.strerror or error}") from None
    except ValueError as error:
        raise UserError(f"cannot read {file_name(path)}: {error}") from None
    if not found:
        raise UserError(f"{file_name(path.parent)}: no run was recorded there (no {JOURNAL}): give the folder of a run")
