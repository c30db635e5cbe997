"""Reward-balanced search (Wu et al. 2024, arXiv 2408.00724, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from treereason.core import Thought, Tree
from treereason.search.limits import Samples, Steps, Temperature
from treereason.search.softmax import softmax
from treereason.search.voting import by_vote, score_as_weight


@dataclass(frozen=True)
class Rebase:
    """A step's branches are shared out among the thoughts before it by the softmax of their scores.

    N, T_b and R of the paper are `width`, `balance` and the scores. A thought n_j of depth i gets
    W_j = round(B_i exp(R_j / T_b) / sum_k exp(R_k / T_b)) children; B_i is N less the answers that are whole.
    Answers with the weighted vote of the answers, or with the best scored one.
    """

    width: Annotated[Samples, Field(description="branches of a step, and answers in the end")] = 16
    balance: Annotated[Temperature, Field(description="temperature T_b of the softmax of the scores")] = 0.1
    answer: Annotated[Literal["vote", "best"], Field(description="vote weighted by scores, or best score")] = "vote"
    steps: Annotated[Steps, Field(description="steps at most")] = 40

    async def run(self, tree: Tree) -> Thought | None:
        whole: list[Thought] = []
        frontier, shares = [tree.root], [self.width]
        for _ in range(self.steps):
            thoughts = await tree.expand(frontier, shares)
            await tree.score([thought for thought in thoughts if thought is not tree.root])
            tree.drop(above for above in frontier if above not in thoughts)
            scored = [thought for thought in thoughts if thought.score is not None]
            whole += [thought for thought in scored if not tree.unfinished(thought)]
            frontier = self.going_on(tree, [thought for thought in scored if tree.unfinished(thought)])
            shares = self.shares(frontier, self.width - len(whole))
            if not any(shares):
                break
        return by_vote(whole, score_as_weight) if self.answer == "vote" else tree.best()

    def going_on(self, tree: Tree, thoughts: list[Thought]) -> list[Thought]:  # noqa: ARG002
        """Those of the unfinished thoughts that are expanded: all."""
        return thoughts

    def shares(self, thoughts: Sequence[Thought], num_branches: int) -> list[int]:
        """Children of each thought."""
        scores = [thought.score.value if thought.score else 0.0 for thought in thoughts]
        return [round(max(0, num_branches) * share) for share in softmax(scores, self.balance)]
