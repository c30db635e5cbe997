"""What independent samples reach at a number of decoded tokens: the baselines of every search.

One pool of samples a problem gives all of them: samples are independent, so the first n of a pool are a run with n.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from treereason import ProblemResult
from treereason.core import Thought
from treereason.search.upper_bounds import value_of
from treereason.search.voting import by_vote, score_as_weight

Choose = Callable[[Sequence[Thought]], Thought | None]


def best_of_n(samples: Sequence[Thought]) -> Thought | None:
    """The best scored answer, the earliest of equals."""
    scored = [sample for sample in samples if sample.answer is not None and sample.score is not None]
    return max(scored, key=value_of, default=None)


def weighted_vote(samples: Sequence[Thought]) -> Thought | None:
    """The answer with the largest sum of scores."""
    return by_vote(samples, score_as_weight)


BASELINES: dict[str, Choose] = {
    "best_of_n": best_of_n,
    "self_consistency": by_vote,
    "weighted_vote": weighted_vote,
}


@dataclass(frozen=True)
class Outcome:
    """One problem under one search: what its answer is worth, and the tokens decoded for it."""

    value: float
    tokens: float


@dataclass(frozen=True)
class Pool:
    """All problems' samples in the order of their drawing. worth: of a problem's answer, which is None without one."""

    problems: Sequence[ProblemResult]
    worth: Callable[[ProblemResult, Any], float]

    @property
    def size(self) -> int:
        """Samples of each problem."""
        return min(len(_samples(problem)) for problem in self.problems)

    def single(self) -> list[Outcome]:
        """One sample of each problem: the mean over the pool."""
        return [
            Outcome(
                fmean(self.worth(problem, sample.answer) for sample in _samples(problem)),
                fmean(sample.cost.tokens_decoded for sample in _samples(problem)),
            )
            for problem in self.problems
        ]

    def chosen(self, n: int, choose: Choose) -> list[Outcome]:
        """The choice among the first n samples of each problem."""
        found = []
        for problem in self.problems:
            samples = _samples(problem)[:n]
            best = choose(samples)
            worth = self.worth(problem, None if best is None else best.answer)
            found.append(Outcome(worth, sum(sample.cost.tokens_decoded for sample in samples)))
        return found

    def until_final(self, n: int) -> list[Outcome]:
        """Samples one by one until a score is final, at most n; then the best one (search=sample_until)."""
        found = []
        for problem in self.problems:
            samples = _samples(problem)[:n]
            final = next((i for i, sample in enumerate(samples) if sample.score and sample.score.final), n - 1)
            best = best_of_n(samples[: final + 1])
            tokens = sum(sample.cost.tokens_decoded for sample in samples[: final + 1])
            found.append(Outcome(self.worth(problem, None if best is None else best.answer), tokens))
        return found


def _samples(problem: ProblemResult) -> list[Thought]:
    """Without what a judge has written below them."""
    return [thought for thought in problem.thoughts if thought.depth == 1 and not thought.part]
