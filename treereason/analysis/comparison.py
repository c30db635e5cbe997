"""Runs side by side: each alone, and the differences of those that can be told apart fairly.

Runs are compared problem by problem: only those with one name and one input count, each once in either run. Runs that
an oracle guided and runs that had none are never set against each other. At equal tokens every run gets the mean tokens
a problem of the cheapest one; a run that took more is cut at the largest number per problem with which it takes no more
(curve.py). Intervals are 95% of the paired bootstrap over problems (bootstrap.py); cuts stay as they are in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from treereason.analysis.bootstrap import RESAMPLES, interval
from treereason.analysis.curve import Outcomes, equal_cut, outcomes
from treereason.analysis.recorded_run import RecordedRun
from treereason.analysis.replay import Replay

METHOD = (
    f"95% intervals: percentile bootstrap over problems, {RESAMPLES:,} resamples, seed 0; differences paired by problem"
)


@dataclass(frozen=True)
class Mean:
    """A mean over problems with its 95% interval, None where fewer than two count; num: problems in it."""

    value: float
    low: float | None
    high: float | None
    num: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean | None:
        """None without values."""
        if not values:
            return None
        low, high = interval(values) or (None, None)
        return cls(fmean(values), low, high, len(values))


@dataclass(frozen=True)
class RunRow:
    """One run. equal_solved, equal_score: at the comparison's `tokens`; cut: where its problems are cut, None uncut.

    outcomes: of its problems, by name.

    tokens, prefilled: a problem, on average; kv_tokens_peak: of the whole run; seconds: wall time of the search.
    """

    run: RecordedRun
    name: str
    guide: str
    problems: int
    failed: int
    solved: Mean | None
    score: Mean | None
    tokens: float
    prefilled: float
    kv_tokens_peak: int
    seconds: float
    cut: float | None
    equal_solved: Mean | None
    equal_score: Mean | None
    outcomes: Mapping[str, Outcomes]


@dataclass(frozen=True)
class Difference:
    """`other` minus `base`, over the problems that both finished; unpaired: problems of either that have no partner."""

    base: str
    other: str
    guide: str
    paired: int
    unpaired: int
    solved: Mean | None
    score: Mean | None
    equal_solved: Mean | None
    equal_score: Mean | None


@dataclass(frozen=True)
class Comparison:
    """tokens: what every run is given a problem, on average, where tokens are equal. notes: what limits it."""

    rows: list[RunRow]
    differences: list[Difference]
    tokens: float
    notes: list[str] = field(default_factory=list)


def compare(
    runs: Sequence[RecordedRun], replays: Sequence[Replay | None], names: Sequence[str], tokens: float | None = None
) -> Comparison:
    """Compare runs; each with the first one of the same guide.

    replays: of each run, None where its task cannot be made again. names: what the runs are called. tokens: a problem,
    on average; by default what the cheapest run took.
    """
    found = [outcomes(run, replay) for run, replay in zip(runs, replays, strict=True)]
    spent = [fmean([each.total for each in one.values()]) if one else 0.0 for one in found]
    given = min((each for each in spent if each), default=0.0) if tokens is None else tokens
    cuts = [equal_cut([each.total for each in one.values()], given) for one in found]
    rows = [_row(*each) for each in zip(runs, names, found, cuts, spent, strict=True)]
    first: dict[str, int] = {}
    differences = []
    for i, row in enumerate(rows):
        base = first.setdefault(row.guide, i)
        if base != i:
            differences.append(_difference(rows, found, cuts, base, i))
    return Comparison(rows, differences, given, _notes(rows, replays, first))


def _row(run: RecordedRun, name: str, found: Mapping[str, Outcomes], cut: float, tokens: float) -> RunRow:
    summary, done = run.summary, list(run.done.values())
    whole, equal = (lambda each: each.at(each.total)), (lambda each: each.at(min(cut, each.total)))
    return RunRow(
        run=run,
        name=name,
        guide=run.guide,
        problems=len(done),
        failed=sum(each.status == "failed" for each in done),
        solved=Mean.of(_solved(found, whole)),
        score=Mean.of(_scores(found, whole)),
        tokens=tokens,
        prefilled=fmean([each.tokens_prefilled for each in done]) if done else 0.0,
        kv_tokens_peak=int(summary["kv_tokens_peak"]),
        seconds=float(summary["seconds"]),
        cut=None if cut == float("inf") else cut,
        equal_solved=Mean.of(_solved(found, equal)),
        equal_score=Mean.of(_scores(found, equal)),
        outcomes=found,
    )


_At = Callable[[Outcomes], tuple[bool, float | None]]


def _solved(found: Mapping[str, Outcomes], at: _At) -> list[float]:
    return [float(at(each)[0]) for each in found.values()]


def _scores(found: Mapping[str, Outcomes], at: _At) -> list[float]:
    return [score for each in found.values() if (score := at(each)[1]) is not None]


def _difference(
    rows: Sequence[RunRow], found: Sequence[Mapping[str, Outcomes]], cuts: Sequence[float], base: int, other: int
) -> Difference:
    left, right = rows[base].run, rows[other].run
    paired = [
        name for name in left.done if name in right.done and left.problems[name].input == right.problems[name].input
    ]
    pairs = [(found[base][name], found[other][name]) for name in paired]
    whole = [(a.at(a.total), b.at(b.total)) for a, b in pairs]
    equal = [(a.at(min(cuts[base], a.total)), b.at(min(cuts[other], b.total))) for a, b in pairs]
    return Difference(
        base=rows[base].name,
        other=rows[other].name,
        guide=rows[base].guide,
        paired=len(paired),
        unpaired=len(left.done.keys() | right.done.keys()) - len(paired),
        solved=_solved_by(whole),
        score=_score_by(whole) if left.started.scorer == right.started.scorer else None,
        equal_solved=_solved_by(equal),
        equal_score=_score_by(equal) if left.started.scorer == right.started.scorer else None,
    )


_Pairs = list[tuple[tuple[bool, float | None], tuple[bool, float | None]]]


def _solved_by(pairs: _Pairs) -> Mean | None:
    return Mean.of([float(b[0]) - float(a[0]) for a, b in pairs])


def _score_by(pairs: _Pairs) -> Mean | None:
    return Mean.of([b[1] - a[1] for a, b in pairs if a[1] is not None and b[1] is not None])


def _notes(rows: Sequence[RunRow], replays: Sequence[Replay | None], first: Mapping[str, Any]) -> list[str]:
    notes = []
    if len(first) > 1:
        notes.append(f"not set against each other, because guided by different things: {', '.join(first)}")
    for row, replay in zip(rows, replays, strict=True):
        if replay is None:
            notes.append(
                f"{row.name}: its task cannot be made again, so at equal tokens only its recorded answers count"
            )
        if row.problems < row.run.started.num_problems:
            notes.append(f"{row.name}: {row.problems:,} of {row.run.started.num_problems:,} problems are done")
    scorers = {row.run.started.scorer for row in rows}
    if len(scorers) > 1:
        notes.append(
            f"scores are of different scorers ({', '.join(sorted(scorers))}): `treereason rescore` makes them one"
        )
    return notes
