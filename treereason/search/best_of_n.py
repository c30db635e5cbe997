"""Best of n: independent samples, the highest score wins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import fsum, prod
from typing import Annotated, Literal

from pydantic import Field

from treereason.core import Thought, Tree, derived
from treereason.search.limits import Samples
from treereason.search.sampling import sample_answers

AGGREGATES: dict[str, Callable[[list[float]], float]] = {
    "min": min,
    "prod": prod,
    "mean": lambda values: fsum(values) / len(values),
}


@dataclass(frozen=True)
class BestOfN:
    """Take n independent samples and answer with the one that has the highest score, the earliest of equals.

    A sample of several steps has its last step's score, or the least, the product or the mean of all its steps'
    (Lightman et al. 2023, arXiv 2305.20050, appendix E; Snell et al. 2024, arXiv 2408.03314, appendix E).
    """

    n: Annotated[Samples, Field(description="samples, of which the best scored one wins")] = 5
    aggregate: Annotated[
        Literal["last", "min", "prod", "mean"], Field(description="of the scores of a sample's steps")
    ] = "last"

    async def run(self, tree: Tree) -> Thought | None:
        samples = await sample_answers(tree, self.n)
        if self.aggregate != "last":
            steps = dict.fromkeys(step for sample in samples for step in reversed(sample.ancestors()[1:-1]))
            await tree.score(list(steps))
        await tree.score(samples)
        if self.aggregate != "last":
            await tree.score([sample for sample in samples if sample.score is not None], by=self.of_all_steps)
        return tree.best()

    @derived
    def of_all_steps(self, sample: Thought) -> float:
        """The aggregate of the scores of a sample's steps."""
        scores = [step.score for step in sample.ancestors()[:-1]]
        return AGGREGATES[self.aggregate]([score.value for score in scores if score is not None])
