"""Self-consistency: the answer that most samples agree on (Wang et al. 2022, arXiv 2203.11171)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from treereason.core import Thought, Tree
from treereason.search.equal import group_equal
from treereason.search.sampling import MOST_SAMPLES, sample_answers


@dataclass(frozen=True)
class SelfConsistency:
    """Take n independent samples and answer with the most frequent answer, the earliest of equals.

    Answers that are equal (==) are one answer. No score is asked for: the vote needs none.
    """

    n: Annotated[int, Field(ge=1, le=MOST_SAMPLES, description="samples that vote")] = 15

    async def run(self, tree: Tree) -> Thought | None:
        samples = await sample_answers(tree, self.n)
        answered = [thought for thought in samples if thought.answer is not None]
        choices = group_equal(thought.answer for thought in answered)
        votes: Counter[int] = Counter()
        for thought, choice in zip(answered, choices, strict=True):
            votes[choice] += thought.multiplicity
        return answered[choices.index(votes.most_common(1)[0][0])] if answered else None
