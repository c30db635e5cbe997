"""The record of a run as it goes on: journal, results, summary and display, and what was in them before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from treereason import events
from treereason.controller.differences import FREE, differences
from treereason.controller.parts import scorer_name, scorer_of
from treereason.controller.run_clock import RunClock
from treereason.controller.run_spec import RunSpec
from treereason.core import Basis, UserError, basis_of
from treereason.display.base import Display
from treereason.profile import Profile
from treereason.record.begun_run import BegunPass, BegunRun
from treereason.record.journal import NAME as JOURNAL
from treereason.record.journal import Journal
from treereason.record.results import Results
from treereason.record.summary import Summary
from treereason.text import as_typed


class Recording:
    """A sink of a run's events. Use it as a context manager.

    folder: where the run is recorded; None writes nothing. before: what an earlier process has done of the run.
    Raises UserError when the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path | None,
        screen: Display,
        before: BegunRun | None = None,
        profile: Profile | None = None,
        trackers: Sequence[events.Sink] = (),
    ) -> None:
        self._clock = RunClock()
        self.summary = Summary(self._clock)
        self._folder = folder
        self._before = before
        self._profile = profile or Profile()
        self._results: Results | None = None
        self._journal: Journal | None = None
        self._sinks: list[events.Sink] = [self.summary, screen, *trackers]
        self._opened = ExitStack()
        with ExitStack() as on_error:
            if folder is not None:
                self._journal = on_error.enter_context(Journal(folder / JOURNAL, grouped=True))
                self._results = on_error.enter_context(Results(folder))
                self._sinks.insert(0, self._results)
            on_error.enter_context(screen)
            self._opened = on_error.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    def __call__(self, event: events.Event) -> None:
        if self._journal is not None:
            with self._profile.measure("journal"):
                self._journal(event)
        with self._profile.measure("results and display"):
            for sink in self._sinks:
                sink(event)

    def commit(self) -> None:
        """Let all events so far outlive the process."""
        if self._journal is not None:
            with self._profile.measure("journal"):
                self._journal.commit()

    def go_on(self, changes: list[str]) -> None:
        """Tell results, summary and display what is in the journal already, and that the run goes on."""
        if self._before is not None:
            for moment, event in self._before.timed_events():
                self._clock.stands_at(moment)
                for sink in self._sinks if not isinstance(event, events.RunDone) else ():
                    sink(event)
            self._clock.goes_on()
            self(events.RunResumed(tuple(changes)))

    def begin(self, spec: RunSpec, pass_name: str, repeats: str, mark: Mapping[str, str]) -> BegunPass:
        """Begin a pass over the problems; returns what is done of it."""
        if self._before is not None and pass_name in self._before.passes:
            return self._before.passes[pass_name]
        started = run_started(spec, pass_name, repeats, dict(mark))
        self(started)
        return BegunPass(started)

    def end(self, status: str, extra: Mapping[str, Any]) -> dict[str, Any]:
        """End the run; returns its summary. extra: further entries of that."""
        self.summary.extra |= extra
        if self._folder is not None and self._results is not None:
            self._results.close()  # a summary speaks for whole results
            self.summary.write(self._folder, status)
        summary = self.summary.as_dict(status)
        self(events.RunDone(status, summary, as_typed(str(self._folder)) if self._folder is not None else ""))
        return self.summary.as_dict(status)


def changes(started: events.RunStarted, spec: RunSpec, mark: dict[str, str], *, force: bool) -> list[str]:
    """What is not as it was when the run started. Raises UserError for anything, without `force`."""
    if not started.fingerprint:
        raise UserError("the run was recorded by an older treereason, which did not write all that going on needs")
    found = differences(started.config, spec.config.model_dump(mode="json")) + differences(started.fingerprint, mark)
    found = [change for change in found if not change.startswith(FREE)]
    if found and not force:
        raise UserError(f"the run cannot go on as it began: {'; '.join(found)} (--force goes on all the same)")
    return found


def run_started(spec: RunSpec, pass_name: str, repeats: str, mark: dict[str, str]) -> events.RunStarted:
    config, basis = spec.config, basis_of(scorer_of(spec))
    return events.RunStarted(
        task=as_typed(config.task["name"]),
        search=as_typed(config.search["name"]),
        model=config.model.name,
        scorer=scorer_name(spec),
        seed=config.seed,
        num_problems=len(spec.problems),
        pass_name=pass_name,
        config=config.model_dump(mode="json"),
        program=spec.program,
        overrides=spec.overrides,
        scorer_oracle=basis is Basis.ORACLE,
        scorer_basis=basis,
        repeats=repeats,
        fingerprint=mark,
    )
