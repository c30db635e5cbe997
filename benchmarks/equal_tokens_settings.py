"""What `benchmarks.equal_tokens` measures: tasks, scorers, and each search by one size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import treereason as tr
from treereason.core import Search, Task
from treereason.tasks.generators import contracts

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
Make = Callable[[int], Search]


@dataclass(frozen=True)
class Setting:
    """A task under a scorer.

    guidance: what the scorer rests on. tokens: decoded a problem, about. pool: samples of the baselines,
    which are whole answers. task: by number of problems, and whether answers are whole or in steps. worth: of a
    problem's answer, by the truth. unit: what the worth's mean is.
    """

    guidance: Literal["oracle", "label-free", "the model as judge"]
    scorer: str
    tokens: int
    pool: int
    task: Callable[[int, bool], Task]
    worth: Callable[[tr.ProblemResult, Any], float]
    searches: Mapping[str, Make]
    unit: str = "solved"

    @property
    def has_final(self) -> bool:
        """Whether the scorer knows when nothing can be better."""
        return self.guidance == "oracle"


def _right(problem: tr.ProblemResult, answer: Any) -> float:
    return float(answer is not None and answer == problem.target)


def _merged(problem: tr.ProblemResult, answer: Any) -> float:
    if answer is None:
        return 0.0
    clauses = [contracts.parse_clauses(body) for body in problem.input]
    return contracts.merge_score(clauses, contracts.parse_clauses(" ".join(answer.split())))


def _sorting(limit: int, whole: bool) -> Task:  # noqa: ARG001
    return tr.tasks.Sorting(length=64, limit=limit)


def _arithmetic(limit: int, whole: bool) -> Task:
    return tr.tasks.FewShot(operations=6, limit=limit, stepwise=not whole)


def _merging(limit: int, whole: bool) -> Task:
    return tr.tasks.DocumentMerging(documents=4, limit=limit, stepwise=not whole)


_STEPS: dict[str, Make] = {
    "tree_of_thoughts": lambda n: tr.search.TreeOfThoughts(k=4, b=n, steps=40),
    "depth_first": lambda n: tr.search.DepthFirst(k=3, n_iters=4 * n),
    "beam": lambda n: tr.search.Beam(n=4 * n),
    "beam, lookahead 1": lambda n: tr.search.Beam(n=4 * n, lookahead=1),
    "dvts": lambda n: tr.search.DVTS(n=4 * n),
    "rebase": lambda n: tr.search.Rebase(width=n),
    "ets": lambda n: tr.search.ETS(width=n),
    "mcts": lambda n: tr.search.MCTS(n_iters=n),
    "mcts, puct": lambda n: tr.search.MCTS(n_iters=n, policy="puct", backup="max"),
    "ab_mcts": lambda n: tr.search.ABMCTS(n_iters=n),
    "particle_filtering": lambda n: tr.search.ParticleFiltering(n=n, temperature=0.2),
}
"""For answers in steps."""
_ANSWERS: dict[str, Make] = {
    "tree_of_thoughts": lambda n: tr.search.TreeOfThoughts(k=n),
    "beam": lambda n: tr.search.Beam(n=4 * n, steps=4),
    "dvts": lambda n: tr.search.DVTS(n=4 * n, steps=4),
    "mcts": lambda n: tr.search.MCTS(n_iters=n, depth_limit=4),
    "ab_mcts": lambda n: tr.search.ABMCTS(n_iters=n),
    "refine": lambda n: tr.search.Refine(steps=n),
    "graph_of_thoughts": lambda n: tr.search.GraphOfThoughts(
        ("split 2", f"generate {n}", "score", "keep 1", f"aggregate {n}", "score", "keep 1", f"improve {n}")
    ),
}
"""For whole answers, which are improved."""
_DRAFTS: dict[str, Make] = {
    "graph_of_thoughts": lambda n: tr.search.GraphOfThoughts(
        (f"generate {n}", "score", "keep 3", f"aggregate {n}", "score", "keep 1")
    ),
}
_LABEL_FREE: dict[str, Make] = {
    "best_of_n": lambda n: tr.search.BestOfN(n=n),
    "self_consistency, weighted": lambda n: tr.search.SelfConsistency(n=n, vote="weighted"),
    "successive_halving": lambda n: tr.search.SuccessiveHalving(n=n),
}
"""Those that need no oracle, and are baselines where there is one."""

_UNJUDGED = {name: make for name, make in _ANSWERS.items() if name != "graph_of_thoughts"} | _LABEL_FREE
"""Without an oracle: a graph of thoughts scores the parts of a list by recomputing them, which is one."""

SETTINGS: dict[str, Setting] = {
    "sorting": Setting("oracle", "sorting_errors", 320, 12, _sorting, _right, _ANSWERS),
    "arithmetic": Setting("oracle", "steps_hold", 400, 16, _arithmetic, _right, _STEPS),
    "merging": Setting("oracle", "merge_quality", 600, 14, _merging, _merged, _STEPS | _DRAFTS, "score"),
    "arithmetic by verdicts": Setting(
        "the model as judge", "judge_yes_no", 400, 16, _arithmetic, _right, _STEPS | _LABEL_FREE
    ),
    "arithmetic by likelihood": Setting("label-free", "likelihood", 400, 16, _arithmetic, _right, _STEPS | _LABEL_FREE),
    "sorting by verdicts": Setting("the model as judge", "judge_yes_no", 320, 12, _sorting, _right, _UNJUDGED),
    "sorting by likelihood": Setting("label-free", "likelihood", 320, 12, _sorting, _right, _UNJUDGED),
}
"""By name. Searches that go by steps are left out where an answer is one."""
