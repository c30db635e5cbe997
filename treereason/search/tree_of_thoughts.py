"""Tree of thoughts, breadth first (Yao et al. 2023, arXiv 2305.10601, algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from treereason.core import Thought, Tree, UserError
from treereason.search.limits import MOST_CHILDREN, Samples, Steps


@dataclass(frozen=True)
class TreeOfThoughts:
    """Expand each thought of the frontier k times, score the children, keep the b best; at most `steps` times.

    k, b and T of the paper's algorithm 1 are `k`, `b` and `steps`.
    """

    k: Annotated[Samples, Field(description="children of each kept thought")] = 5
    b: Annotated[Samples, Field(description="thoughts kept at each step")] = 1
    steps: Annotated[Steps, Field(description="at most this many steps; a final score ends the search earlier")] = 4

    def __post_init__(self) -> None:
        if self.k * self.b > MOST_CHILDREN:
            many = f"{self.k * self.b:,} children in a step, more than {MOST_CHILDREN:,}"
            raise UserError(f"search.k={self.k} search.b={self.b}: {many}")

    async def run(self, tree: Tree) -> Thought | None:
        frontier = [tree.root]
        for _ in range(self.steps):
            thoughts = await tree.expand(frontier, self.k)
            if thoughts == frontier:
                break
            await tree.score(thoughts)
            above, frontier = frontier, tree.keep(thoughts, self.b)
            tree.drop(thought for thought in above if thought not in frontier)
            if not frontier or any(t.score is not None and t.score.final for t in frontier):
                break
        return tree.best()
