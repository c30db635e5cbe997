"""Iterative refinement (Self-Refine: Madaan et al. 2023, arXiv 2303.17651, algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from treereason.core import Thought, Tree
from treereason.search.limits import Samples, Steps
from treereason.search.sampling import sample_answers


@dataclass(frozen=True)
class Refine:
    """One answer, which is improved again and again by the task's own prompt for what follows an answer.

    y_0 and the loop of the paper's algorithm are one sample and `steps`; its stopping criterion is a final score. Of k
    improvements the best one is improved next, if it is no worse than what it improves. A task whose answers have
    nothing behind them ends after the first.
    """

    steps: Annotated[Steps, Field(description="improvements at most, one after another")] = 4
    k: Annotated[Samples, Field(description="improvements to choose from")] = 1

    async def run(self, tree: Tree) -> Thought | None:
        made = await sample_answers(tree, 1)
        await tree.score(made)
        latest = next((thought for thought in made if thought.score is not None), None)
        for _ in range(self.steps):
            if latest is None or latest.score is None or latest.score.final:
                break
            made = [thought for thought in await tree.expand([latest], self.k) if thought is not latest]
            await tree.score(made)
            scored = [thought for thought in made if thought.score is not None]
            if not scored:
                break
            [better] = tree.keep(scored, 1)
            if better.score is not None and better.score.value >= latest.score.value:
                tree.drop([latest])
                latest = better
        return tree.best()
