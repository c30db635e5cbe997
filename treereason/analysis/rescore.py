"""A recorded run by another scorer: the recorded thoughts are scored anew, no model is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from treereason.analysis.recorded_problem import RecordedProblem
from treereason.analysis.replay import Replay
from treereason.config.scorers import load_scorer, scorer_options, scorer_reference, title_of
from treereason.config.user_files import load
from treereason.core import Basis, Score, Thought, ThoughtPath, UserError, basis_of
from treereason.scoring.process import Scoring
from treereason.scoring.verdict import kind_of

WAIT_S = 0.2


@dataclass(frozen=True)
class Rescored:
    """Verdicts of another scorer: by problem and path, a score or, as text, the error.

    name, basis: of the scorer.
    """

    name: str
    basis: Basis
    verdicts: Mapping[str, Mapping[ThoughtPath, Score | str]]


def rescore(replayed: Replay, scorer: str) -> Rescored:
    """Score every thought that holds an answer or had a score, by `scorer`: a name or a reference, as scorer= takes it.

    It runs in a second process, under the time limits of the run. Raises UserError for one that asks the run's model,
    and for one that reads statistics of tokens that the journal does not hold.
    """
    reference = scorer_reference(scorer, replayed.task)
    found = load_scorer(reference)
    name, basis = title_of(reference), basis_of(found)
    if kind_of(found) in ("async", "async batch"):
        raise UserError(f"scorer={scorer}: it asks the run's model, and none is loaded here: choose another scorer")
    wanted = {each.name: _wanted(replayed, each) for each in replayed.run.problems.values() if each.done is not None}
    if getattr(found, "token_statistics", False) and not all(
        thought.token_statistics is not None for thoughts in wanted.values() for thought in thoughts
    ):
        raise UserError(
            f"scorer={scorer}: it reads statistics of tokens, and the journal of {replayed.run.name} has none: "
            "a run with engine.token_statistics=true records them"
        )
    config = replayed.config
    with closing(
        Scoring(
            reference,
            config.scorer_timeout_s,
            load,
            options=scorer_options(found, config),
            load_timeout_s=config.scorer_load_timeout_s,
        )
    ) as scoring:
        for thoughts in wanted.values():
            for thought in thoughts:
                scoring.submit(thought)
        verdicts: dict[str, dict[ThoughtPath, Score | str]] = {problem: {} for problem in wanted}
        for thought, verdict in _all(scoring):
            verdicts[thought.problem.id][thought.path] = verdict
    return Rescored(name, basis, verdicts)


def _wanted(replayed: Replay, recorded: RecordedProblem) -> Sequence[Thought]:
    thoughts: dict[ThoughtPath, Thought] = replayed.thoughts(recorded)
    best = recorded.done.best if recorded.done is not None else None

    def counts(path: ThoughtPath) -> bool:
        one = recorded.thoughts[path]
        return not one.error and (one.answer is not None or bool(one.scores) or path == best)

    return [thought for path, thought in thoughts.items() if path and counts(path)]


def _all(scoring: Scoring) -> Iterator[tuple[Thought, Any]]:
    while len(scoring):
        yield from scoring.poll(WAIT_S)
