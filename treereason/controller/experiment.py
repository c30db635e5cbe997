"""One run, from a checked specification to its results: scoring, engine, search, baseline, record and display."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from treereason import events
from treereason.config.scorers import scorer_options
from treereason.config.user_files import load as load_reference
from treereason.controller.budget import Budget
from treereason.controller.differences import FREE, differences
from treereason.controller.fingerprint import fingerprint
from treereason.controller.model import open_engine, repeats, sampling_of, settled
from treereason.controller.own_scorers import name_of
from treereason.controller.problem_result import ProblemResult
from treereason.controller.run_clock import RunClock
from treereason.controller.run_spec import RunSpec
from treereason.controller.runner import Runner
from treereason.controller.user_code import UserCode
from treereason.core import Basis, Scorer, Search, UserError, basis_of
from treereason.display.base import Display
from treereason.engine.model.language_model import LanguageModel
from treereason.profile import Profile
from treereason.record.journal import NAME as JOURNAL
from treereason.record.journal import Journal
from treereason.record.recorded_run import RecordedRun
from treereason.record.results import Results
from treereason.record.summary import Summary
from treereason.scoring.process import Scoring
from treereason.scoring.verdict import kind_of
from treereason.search.single_sample import SingleSample
from treereason.text import as_typed

if TYPE_CHECKING:  # its packages are an extra
    from treereason.remote.server import Server

SCORER_LOG = "scorer.log"


def run_experiment(
    spec: RunSpec,
    model: LanguageModel | Server,
    folder: Path | None = None,
    screen: Display | None = None,
    stopped: Callable[[], bool] = lambda: False,
    user_code: UserCode | None = None,
    collect: Callable[[ProblemResult], None] = lambda _: None,
    before: RecordedRun | None = None,
    *,
    force: bool = False,
) -> dict[str, Any]:
    """Run the search and the baseline; returns what summary.json holds.

    folder: where the run is recorded; without one nothing is written to disk. screen: shows the run; opened and closed
    by this function. stopped: asked between two steps; True ends the run early and cleanly, with status "interrupted".
    user_code: lets whoever stops the run leave a search that does not give way. collect: is called with the result of
    each problem that the search has finished here.
    before: what an earlier process has done of this run, which then goes on. force: also when something has changed.

    Raises UserError when the folder cannot be written, and when what decides the results is not as it was before.
    However it ends, no process is left behind.
    """
    config = settled(spec.config, model)
    spec = replace(spec, config=config)
    screen = screen or Display()
    mark = fingerprint(spec, model) if folder is not None else {}
    changes = _changes(before.started, spec, mark, force=force) if before is not None else []
    clock = RunClock()
    profile, summary = Profile(), Summary(clock)
    with ExitStack() as stack:
        # What may fail comes first: a start that fails leaves the record of an earlier run alone.
        engine = stack.enter_context(open_engine(config, model, profile, _statistics_for(spec)))
        inline_scorer = _inline_scorer(spec)
        sinks: list[events.Sink] = [summary, screen]
        results: Results | None = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            journal = stack.enter_context(Journal(folder / JOURNAL))
            results = stack.enter_context(Results(folder))
            sinks = [journal, results, *sinks]
        scoring = _scoring(spec, folder, start=inline_scorer is None)
        stack.callback(scoring.close)
        stack.enter_context(screen)

        def emit(event: events.Event) -> None:
            with profile.measure("record and display"):
                for sink in sinks:
                    sink(event)

        if before is not None:
            for moment, event in before.timed_events():
                clock.stands_at(moment)
                for sink in sinks:
                    if not isinstance(sink, Journal):
                        sink(event)
            clock.goes_on()
            emit(events.RunResumed(tuple(changes)))
        for pass_name, search, temperature in _passes(spec):
            if stopped():
                break
            done = before.passes.get(pass_name) if before is not None else None
            if done is None:
                emit(_started(spec, pass_name, repeats(config, model, basis_of(_scorer(spec))), mark))
            Runner(
                engine=engine,
                scoring=scoring,
                task=spec.task,
                search=search,
                sampling=replace(sampling_of(config), temperature=temperature),
                parallel_problems=config.engine.parallel_problems,
                emit=emit,
                seed=config.seed,
                scorer=_scorer_name(spec),
                scorer_basis=basis_of(_scorer(spec)),
                inline_scorer=inline_scorer,
                budget=lambda: Budget(config.budget.tokens, config.budget.seconds),
                stopped=stopped,
                user_code=user_code,
                profile=profile,
                collect=collect if pass_name == "search" else lambda _: None,
                records=done.begun if done is not None else None,
            ).run([problem for problem in spec.problems if done is None or problem.id not in done.done])
        status = "interrupted" if stopped() else "done"
        if isinstance(model, LanguageModel) and model.device.type != "cpu" and model.fused:
            summary.extra["fused"] = model.fused
        if threads := getattr(engine, "threads", ""):
            summary.extra["threads"] = threads
        if capabilities := getattr(model, "capabilities", None):
            summary.extra["server"] = str(capabilities)
        if config.engine.profile:
            summary.extra["profile"] = profile.shares()
        if folder is not None and results is not None:
            results.close()  # a summary speaks for whole results
            summary.write(folder, status)
        emit(events.RunDone(status, summary.as_dict(status), as_typed(str(folder)) if folder is not None else ""))
    return summary.as_dict(status)


def _statistics_for(spec: RunSpec) -> str | None:
    """The option that asks for token statistics, itself or by what it names; None where none does."""
    asking = {
        "engine.token_statistics=true": spec.config.engine.token_statistics,
        f"scorer={_scorer_name(spec)}": getattr(_scorer(spec), "token_statistics", False),
        f"search={as_typed(spec.config.search['name'])}": getattr(spec.search, "token_statistics", False),
    }
    return next((option for option, asks in asking.items() if asks), None)


def _inline_scorer(spec: RunSpec) -> Scorer | None:
    """The scorer where it runs beside the search: one that asks the model, or that no other process can import."""
    scorer: Scorer | type[Scorer] = _scorer(spec)
    if isinstance(spec.scorer, str) and kind_of(scorer) not in ("async", "async batch"):
        return None
    return scorer(**scorer_options(scorer, spec.config)) if isinstance(scorer, type) else scorer


def _scoring(spec: RunSpec, folder: Path | None, *, start: bool) -> Scoring:
    """The process that scores. start: now; else it starts when it is first needed."""
    return Scoring(
        spec.scorer if isinstance(spec.scorer, str) else "",
        spec.config.scorer_timeout_s,
        load_reference,
        options=scorer_options(_scorer(spec), spec.config),
        load_timeout_s=spec.config.scorer_load_timeout_s,
        log=folder / SCORER_LOG if folder is not None else None,
        start=start,
    )


def _scorer(spec: RunSpec) -> Any:
    return load_reference(spec.scorer) if isinstance(spec.scorer, str) else spec.scorer


def _scorer_name(spec: RunSpec) -> str:
    """What the run's scorer is called in the record."""
    if isinstance(spec.scorer, str):
        return spec.scorer.rpartition(":")[2].removeprefix("SCORERS.")
    return name_of(spec.scorer)


def _passes(spec: RunSpec) -> list[tuple[str, Search, float]]:
    """Name, search and temperature of each pass over the problems."""
    passes: list[tuple[str, Search, float]] = [("search", spec.search, spec.config.temperature)]
    if spec.config.baseline == "greedy":
        passes.append(("greedy", SingleSample(), 0.0))
    return passes


def _changes(started: events.RunStarted, spec: RunSpec, mark: dict[str, str], *, force: bool) -> list[str]:
    """What is not as it was when the run started. Raises UserError for anything, without `force`."""
    if not started.fingerprint:
        raise UserError("the run was recorded by an older treereason, which did not write all that going on needs")
    changes = differences(started.config, spec.config.model_dump(mode="json")) + differences(started.fingerprint, mark)
    changes = [change for change in changes if not change.startswith(FREE)]
    if changes and not force:
        raise UserError(f"the run cannot go on as it began: {'; '.join(changes)} (--force goes on all the same)")
    return changes


def _started(spec: RunSpec, pass_name: str, repeats: str, mark: dict[str, str]) -> events.RunStarted:
    config, basis = spec.config, basis_of(_scorer(spec))
    return events.RunStarted(
        task=as_typed(config.task["name"]),
        search=as_typed(config.search["name"]),
        model=config.model.name,
        scorer=_scorer_name(spec),
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
