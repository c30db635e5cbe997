"""What a run found out about one problem, with the thoughts themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

from treereason.core import Problem, Thought
from treereason.events import ProblemDone
from treereason.text import shown


@dataclass(frozen=True, eq=False)
class ProblemResult:
    """One problem of a run: how it ended, its answer, and every thought of its tree.

    problem: as the task made it. status: "done", or "failed" with the `error` that tells why.
    best: the thought that the search answers with, None when it found none; `best.transcript()` is what the model saw
        and wrote on the way to it. answer: the one in it. score: what the run's scorer says of it, or None.
    solved: whether the task calls the answer right.
    thoughts: all of the tree in the order in which they were made, pruned and failed ones included, without the root.
    tokens_decoded, tokens_prefilled, tokens_reused: sampled, computed of prompts, and prompt tokens found in KV.
    tokens_wasted: decoded tokens of thoughts that the answer does not build on.
    kv_tokens_peak: most KV tokens that the problem had at once; 0 on a server.
    guided_by, guided_by_basis: the scorers that the search asked, and what the verdicts of each rest on (core.Basis).
    single_sample_scores, single_sample_solved: of the whole answers sampled from the root before the search had seen
        any score.
    """

    problem: Problem
    status: str
    solved: bool
    score: float | None
    answer: Any
    error: str | None
    best: Thought | None
    thoughts: Sequence[Thought] = field(repr=False)
    tokens_decoded: int
    tokens_prefilled: int
    tokens_reused: int
    tokens_wasted: int
    kv_tokens_peak: int
    single_sample_scores: tuple[float, ...]
    single_sample_solved: tuple[bool, ...]
    guided_by: tuple[str, ...] = ()
    guided_by_basis: tuple[str, ...] = ()

    @classmethod
    def of(cls, done: ProblemDone, problem: Problem, best: Thought | None, thoughts: Sequence[Thought]) -> Self:
        """The result of a problem from its last event, its answer and its thoughts."""
        own: dict[str, Any] = {"problem": problem, "best": best, "thoughts": tuple(thoughts)}
        return cls(**own, **{each.name: getattr(done, each.name) for each in fields(cls) if each.name not in own})

    @property
    def id(self) -> str:
        """The problem's id: unique in the run."""
        return self.problem.id

    @property
    def input(self) -> Any:
        """What the task asks."""
        return self.problem.input

    @property
    def target(self) -> Any:
        """The right answer where the task knows it, else None."""
        return self.problem.target

    def __repr__(self) -> str:
        """One line, because a result holds a whole tree."""
        if self.status == "failed":
            return f"<ProblemResult {self.id}: failed: {self.error}>"
        verdict = "solved" if self.solved else "not solved"
        return f"<ProblemResult {self.id}: {verdict}, score {self.score}, answer {shown(self.answer)}>"
