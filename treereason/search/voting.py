"""The answer that has the most weight."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from treereason.core import Thought
from treereason.search.equal import group_equal


def by_vote(thoughts: Sequence[Thought], weight: Callable[[Thought], float] = lambda _: 1.0) -> Thought | None:
    """The first thought of the answer that has the most weight; None without an answer.

    Of equal weights, as when all scores are 0, the answer with most thoughts wins, then the earliest. Answers that are
    equal (==) are one answer. A thought that stands for several votes as often.
    """
    answered = [thought for thought in thoughts if thought.answer is not None]
    choices = group_equal(thought.answer for thought in answered)
    weights, counts = defaultdict[int, float](float), defaultdict[int, int](int)
    for thought, choice in zip(answered, choices, strict=True):
        weights[choice] += thought.multiplicity * weight(thought)
        counts[choice] += thought.multiplicity
    best = max(weights, key=lambda choice: (weights[choice], counts[choice]), default=None)
    return None if best is None else answered[choices.index(best)]


def score_as_weight(thought: Thought) -> float:
    """A thought's score, 0 for one below 0 or without a score."""
    return max(0.0, thought.score.value) if thought.score is not None else 0.0
