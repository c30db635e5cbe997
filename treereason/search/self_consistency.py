"""Self-consistency: the answer that most samples agree on (Wang et al. 2022, arXiv 2203.11171)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from treereason.core import Thought, Tree
from treereason.search.limits import Samples
from treereason.search.sampling import sample_answers
from treereason.search.voting import by_vote, score_as_weight


@dataclass(frozen=True)
class SelfConsistency:
    """Take n independent samples and answer with the most frequent answer, the earliest of equals.

    Answers that are equal (==) are one answer. The vote by majority asks for no score. Weighted, a sample counts as
    much as its score (Li et al. 2022, arXiv 2206.02336), and not at all below 0.
    """

    n: Annotated[Samples, Field(description="samples that vote")] = 15
    vote: Annotated[
        Literal["majority", "weighted"], Field(description="majority, or weighted by the samples' scores")
    ] = "majority"

    async def run(self, tree: Tree) -> Thought | None:
        samples = await sample_answers(tree, self.n)
        if self.vote == "majority":
            return by_vote(samples)
        await tree.score([sample for sample in samples if sample.answer is not None])
        return by_vote(samples, score_as_weight)
