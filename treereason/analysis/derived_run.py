"""A recorded run with other answers, as the events of a run of its own, so that every reader can take it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from treereason.analysis.recorded_problem import RecordedProblem, RecordedThought
from treereason.analysis.recorded_run import RecordedRun, of_events
from treereason.analysis.replay import Replay
from treereason.analysis.rescore import Rescored
from treereason.analysis.selection import select, vote_of
from treereason.core import Score, ThoughtPath, UserError
from treereason.events import (
    Event,
    ProblemDone,
    RunDone,
    RunStarted,
    StepDone,
    ThoughtDecoded,
    ThoughtEvaluated,
    ThoughtScored,
)
from treereason.record.folder import folder_lock
from treereason.record.journal import NAME as JOURNAL
from treereason.record.journal import Journal
from treereason.record.results import Results
from treereason.record.summary import Summary

INDEPENDENT = ("best_of_n", "self_consistency", "single_sample")
"""Searches whose samples do not depend on each other: the first n are what a run of n would have drawn."""


@dataclass(frozen=True)
class Change:
    """What is done to a run.

    vote: how its answers are chosen again, None to keep them. n: samples that count, None for all.
    rescored: verdicts of another scorer, by which answers are told in the record, and chosen where there is a vote.
    """

    vote: str | None = None
    n: int | None = None
    rescored: Rescored | None = None


def derive(replayed: Replay, change: Change) -> RecordedRun:
    """The run as it would be recorded with the change. Raises UserError for one that the record does not allow."""
    run = replayed.run
    if change.n is not None:
        _check_number(run, change.n)
    events: list[tuple[float, Event]] = []
    for moment, event in run.timed:
        events += [(moment, each) for each in _changed(event, replayed, change)]
    # Greedy answers are those of no vote, and their scores another scorer's.
    ends = [i for i, (_, event) in enumerate(events) if isinstance(event, RunStarted) and event.pass_name == "greedy"]
    return of_events(run.folder, events[: ends[0]] if ends else events)


def write(run: RecordedRun, folder: Path) -> None:
    """Record a derived run in `folder`. Raises UserError when one is there already, or it cannot be written."""
    with folder_lock(folder):
        if (folder / JOURNAL).exists():
            raise UserError(f"{folder} holds a run already: give a new folder")
        now = 0.0
        summary = Summary(clock=lambda: now)
        with Journal(folder / JOURNAL, clock=lambda: now) as journal, Results(folder) as results:
            for now, event in run.timed:  # noqa: B007 - the clocks read it
                for sink in (journal, results, summary):
                    sink(event)
            status = str(summary.status)
            journal(RunDone(status, summary.as_dict(), str(folder)))
            results.close()
            summary.write(folder)


def _check_number(run: RecordedRun, n: int) -> None:
    if run.started.search not in INDEPENDENT:
        raise UserError(
            f"n={n}: {run.name} is of {run.started.search}, whose thoughts depend on each other: n takes the first "
            f"samples of {', '.join(INDEPENDENT)}"
        )
    most = run.of_search("n")
    if not isinstance(most, int) or not 1 <= n <= most:
        raise UserError(f"n={n}: {run.name} has {most} samples a problem: give 1 to {most}")


def _changed(event: Event, replayed: Replay, change: Change) -> Iterator[Event]:
    run, rescored = replayed.run, change.rescored
    problem = run.problems.get(getattr(event, "problem", ""))
    if isinstance(event, RunDone):
        return
    if isinstance(event, RunStarted):
        yield _started(event, change)
    elif isinstance(event, StepDone) and change.n is not None:
        return  # steps decoded all samples
    elif isinstance(event, ProblemDone) and problem is not None:
        yield _done(event, problem, replayed, change)
    elif not _counts(getattr(event, "thought", ()), change):
        return
    elif isinstance(event, ThoughtDecoded) and rescored is not None:
        yield event
        verdict = rescored.verdicts.get(event.problem, {}).get(event.thought)
        if isinstance(verdict, Score):  # a search whose choice stands has not seen it
            told = ThoughtEvaluated if change.vote is None else ThoughtScored
            yield told(event.problem, event.thought, verdict.value, verdict.final, rescored.name)
    elif isinstance(event, ThoughtEvaluated) and rescored is not None:
        return  # by the scorer before
    elif isinstance(event, ThoughtScored) and rescored is not None:
        if change.vote is None and event.by != rescored.name:
            yield event
    else:
        yield event


def _started(event: RunStarted, change: Change) -> RunStarted:
    config: dict[str, Any] = dict(event.config)
    search = dict(config.get("search", {}))
    if change.vote is not None:
        search["vote"] = change.vote
    if change.n is not None:
        search["n"] = change.n
    config["search"] = search
    event = replace(event, config=config, program="")
    if change.rescored is not None:
        basis = change.rescored.basis
        event = replace(event, scorer=change.rescored.name, scorer_basis=basis, scorer_oracle=basis == "oracle")
    return event


def _counts(path: ThoughtPath, change: Change) -> bool:
    return change.n is None or not path or path[0] < change.n


def _done(done: ProblemDone, problem: RecordedProblem, replayed: Replay, change: Change) -> ProblemDone:
    scores = _scores(problem, replayed, change)
    counted = [thought for thought in problem.thoughts.values() if _counts(thought.path, change)]
    answered = [thought for thought in problem.answered if _counts(thought.path, change)]
    chosen: RecordedThought | None = problem.thoughts.get(done.best) if done.best is not None else None
    if change.vote is not None or change.n is not None:
        vote = change.vote or vote_of(replayed.run)
        chosen = select(answered, vote, lambda thought: scores.get(thought.path))
    if change.vote is not None:
        names, bases = _guide(change.vote, replayed, change)
        done = replace(done, guided_by=names, guided_by_basis=bases)
    if change.n is not None:
        done = replace(
            done,
            tokens_decoded=sum(thought.tokens_decoded for thought in counted),
            tokens_prefilled=sum(thought.tokens_prefilled for thought in counted),
            tokens_reused=sum(thought.tokens_reused for thought in counted),
            judge_tokens_decoded=0,
            judge_tokens_prefilled=0,
        )
    if chosen is None:
        error = "no thought holds an answer"
        return replace(done, status="failed", solved=False, score=None, answer=None, best=None, error=error)
    typed = replayed.thoughts(problem)[chosen.path].answer
    return replace(
        done,
        status="done",
        solved=replayed.solves(problem, typed),
        score=scores.get(chosen.path),
        answer=chosen.answer,
        best=chosen.path,
        error=None,
        single_sample_scores=(),
        single_sample_solved=(),
        tokens_wasted=0,
    )


def _scores(problem: RecordedProblem, replayed: Replay, change: Change) -> Mapping[ThoughtPath, float]:
    """By path the scores that count: those of the other scorer, or of the run's own."""
    if change.rescored is not None:
        found = change.rescored.verdicts.get(problem.name, {})
        return {path: each.value for path, each in found.items() if isinstance(each, Score)}
    name = replayed.run.started.scorer
    own = {path: thought.scores[name][0] for path, thought in problem.thoughts.items() if name in thought.scores}
    own |= {path: each.evaluation for path, each in problem.thoughts.items() if each.evaluation is not None}
    if problem.done is not None and problem.done.best is not None and problem.done.score is not None:
        own.setdefault(problem.done.best, problem.done.score)
    return own


def _guide(vote: str, replayed: Replay, change: Change) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if vote in ("majority", "first"):
        return (), ()
    if (rescored := change.rescored) is not None:
        return (rescored.name,), (str(rescored.basis),)
    started = replayed.run.started
    return (started.scorer,), (started.scorer_basis,)
