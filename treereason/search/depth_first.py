"""Tree of thoughts, depth first (Yao et al. 2023, arXiv 2305.10601, algorithm 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from treereason.core import Thought, Tree
from treereason.search.limits import WIDEST, Rollouts, Samples
from treereason.search.proposals import next_thoughts, refusal_of_steps


@dataclass(frozen=True)
class DepthFirst:
    """Expand the best child first, and go back to the next one where all children score below v_th or an answer ends.

    k and v_th are the paper's, G is `generate` as in tree_of_thoughts; T is the depth at which the task has no further
    thought. Ends at a final score, or after `n_iters` expansions.
    """

    k: Annotated[Samples, Field(description="children of each thought")] = 3
    v_th: Annotated[
        Annotated[float, Field(ge=-WIDEST, le=WIDEST)] | None,
        Field(description="thoughts that score less are pruned; null: none is"),
    ] = None
    n_iters: Annotated[Rollouts, Field(description="expansions at most")] = 100
    generate: Annotated[Literal["sample", "propose"], Field(description="one text a child, or one for all")] = "sample"

    refusal = refusal_of_steps

    async def run(self, tree: Tree) -> Thought | None:
        stack = [tree.root]
        for _ in range(self.n_iters):
            if not stack:
                break
            node = stack.pop()
            below = await next_thoughts(tree, [node], self.k, self.generate)
            made = [thought for thought in below if thought is not node]
            await tree.score(made)
            good = [t for t in made if t.score and (self.v_th is None or t.score.value >= self.v_th)]
            kept = tree.keep(good, len(good))
            tree.drop([node, *(thought for thought in made if thought not in kept)])
            stack += [thought for thought in reversed(kept) if tree.unfinished(thought)]
            if any(thought.score is not None and thought.score.final for thought in kept):
                break
        return tree.best()
