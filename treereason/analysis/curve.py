"""Accuracy against decoded tokens: what a search would have answered, had it been stopped earlier.

A problem that is cut at T tokens keeps the thoughts whose texts were complete by its first T decoded tokens, in the
order in which they were recorded. It is answered with the one that the search's own rule takes of them (selection.py),
as a run answers whose budget.tokens are spent. From the tokens that it took in all, its recorded answer counts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from json import dumps
from typing import Any

import numpy as np

from treereason.analysis.bootstrap import intervals
from treereason.analysis.recorded_problem import RecordedProblem
from treereason.analysis.recorded_run import RecordedRun
from treereason.analysis.replay import Replay
from treereason.analysis.selection import Choice, vote_of


@dataclass(frozen=True)
class Outcomes:
    """One problem's outcome at every cut: from spent[i] tokens on (solved[i], score[i]); before spent[0] nothing.

    total: tokens that it took uncut.
    """

    spent: Sequence[int]
    solved: Sequence[bool]
    scores: Sequence[float | None]
    total: int

    def at(self, tokens: float) -> tuple[bool, float | None]:
        """(solved, score) when it is cut at `tokens`."""
        i = bisect_right(self.spent, tokens) - 1
        return (self.solved[i], self.scores[i]) if i >= 0 else (False, None)


@dataclass(frozen=True)
class Curve:
    """Share of solved problems, with the ends of its 95% interval, where problems are cut at cuts[i] tokens each.

    tokens: what they then take on average.
    """

    cuts: list[int]
    tokens: list[float]
    solved: list[float]
    low: list[float]
    high: list[float]


def outcomes(run: RecordedRun, replay: Replay | None) -> dict[str, Outcomes]:
    """Of each finished problem. Without `replay` only answers that are judged in the record are known to be right."""
    return {name: _outcomes(run, run.problems[name], replay) for name in run.done}


def equal_cut(totals: Sequence[int], tokens: float) -> float:
    """The largest cut with which problems that take `totals` take no more than `tokens` on average."""
    ordered = sorted(totals)
    left = tokens * len(ordered)
    for i, total in enumerate(ordered):
        rest = len(ordered) - i
        if total * rest > left + 1e-9 * left:
            return left / rest
        left -= total
    return float("inf")


def curve(found: Mapping[str, Outcomes], points: int = 48) -> Curve:
    """The curve of a run; empty without a finished problem."""
    values = list(found.values())
    spent = sorted({moment for each in values for moment in (*each.spent, each.total) if moment > 0})
    if not spent:
        return Curve([], [], [], [], [])
    cuts = sorted({spent[round(i * (len(spent) - 1) / (points - 1))] for i in range(points)})
    solved = np.array([[float(each.at(cut)[0]) for cut in cuts] for each in values])
    pairs = intervals(solved, resamples=2000)
    tokens = [float(np.mean([min(each.total, cut) for each in values])) for cut in cuts]
    return Curve(cuts, tokens, solved.mean(axis=0).tolist(), [low for low, _ in pairs], [high for _, high in pairs])


def _outcomes(run: RecordedRun, problem: RecordedProblem, replay: Replay | None) -> Outcomes:
    done, vote = problem.done, vote_of(run)
    assert done is not None

    @cache
    def solves(answer: str) -> bool:
        if replay is None:
            return done.solved and answer == dumps(done.answer, sort_keys=True)
        return replay.solves(problem, typed[answer])

    typed: dict[str, Any] = {}
    if replay is not None:
        for thought in replay.thoughts(problem).values():
            recorded = problem.thoughts[thought.path].answer if thought.path else None
            if recorded is not None:
                typed.setdefault(dumps(recorded, sort_keys=True), thought.answer)
    spent, solved, scores = [], [], []
    choice = Choice(vote)
    early = (thought for thought in problem.answered if thought.spent < done.tokens_decoded)
    for moment, complete in groupby(
        sorted(early, key=lambda thought: thought.spent), key=lambda thought: thought.spent
    ):
        for each in complete:
            choice.add(each)
        chosen = choice.chosen
        spent.append(moment)
        solved.append(chosen is not None and solves(dumps(chosen.answer, sort_keys=True)))
        scores.append(chosen.score_by(run.started.scorer) if chosen is not None else None)
    return Outcomes([*spent, done.tokens_decoded], [*solved, done.solved], [*scores, done.score], done.tokens_decoded)
