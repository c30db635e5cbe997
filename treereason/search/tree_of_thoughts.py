"""Tree of thoughts, breadth first (Yao et al. 2023, arXiv 2305.10601, section 3 and algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from treereason.core import Thought, Tree, UserError
from treereason.core.judges import Vote
from treereason.search.limits import MOST_CHILDREN, Samples, Steps, Temperature
from treereason.search.proposals import next_thoughts, refusal_of_steps
from treereason.search.softmax import draw


@dataclass(frozen=True)
class TreeOfThoughts:
    """Expand each thought of the frontier k times, score the children, keep the b best; at most `steps` times.

    k, b and T of the paper's algorithm 1 are `k`, `b` and `steps`. G is `generate`: k samples, or the first k of the
    thoughts that one text proposes. V is `evaluate`: the run's scorer values each thought alone, or the model votes for
    one of a step's, `n_vote` times, and the last step's winner is the answer. The paper keeps the b best;
    `select=sample` draws b (its code draws in proportion to the scores, and puts back).
    """

    k: Annotated[Samples, Field(description="children of each kept thought")] = 5
    b: Annotated[Samples, Field(description="thoughts kept at each step")] = 1
    steps: Annotated[Steps, Field(description="at most this many steps; a final score ends the search earlier")] = 4
    generate: Annotated[Literal["sample", "propose"], Field(description="one text a child, or one for all")] = "sample"
    evaluate: Annotated[Literal["value", "vote"], Field(description="by the scorer, or by the model's votes")] = "value"
    n_vote: Annotated[Samples, Field(description="votes on the candidates of a step")] = 5
    select: Annotated[
        Literal["greedy", "sample"], Field(description="the best, or drawn by the softmax of the scores")
    ] = "greedy"
    temperature: Annotated[Temperature, Field(description="of that softmax")] = 1.0

    def __post_init__(self) -> None:
        if self.k * self.b > MOST_CHILDREN:
            many = f"{self.k * self.b:,} children in a step, more than {MOST_CHILDREN:,}"
            raise UserError(f"search.k={self.k} search.b={self.b}: {many}")

    refusal = refusal_of_steps

    async def run(self, tree: Tree) -> Thought | None:
        frontier, by = [tree.root], Vote(self.n_vote) if self.evaluate == "vote" else None
        for _ in range(self.steps):
            thoughts = await next_thoughts(tree, frontier, self.k, self.generate)
            if thoughts == frontier:
                break
            await tree.score(thoughts, by)
            pool = thoughts
            if self.select == "sample":
                pool = draw(tree.rng, [thought for thought in thoughts if thought.score], self.b, self.temperature)
                tree.drop(thought for thought in thoughts if thought not in pool)
            above, frontier = frontier, tree.keep(pool, self.b)
            tree.drop(thought for thought in above if thought not in frontier)
            if not frontier or any(t.score is not None and t.score.final for t in thoughts):
                break
        return next((thought for thought in frontier if by and thought.answer is not None), None) or tree.best()
