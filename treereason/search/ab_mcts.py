"""Adaptive branching Monte Carlo tree search (Inoue et al. 2025, arXiv 2503.04412, section 3.3: AB-MCTS-A)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from treereason.core import Thought, Tree
from treereason.search.limits import Rollouts
from treereason.search.posteriors import beta, gaussian
from treereason.search.sampling import to_answers


@dataclass(frozen=True)
class ABMCTS:
    """At each thought, draw from two posteriors of the score whether to go wider or deeper (Thompson sampling).

    GEN of the paper, one more child, has seen the first scores of the children; CONT, on with one of them, the scores
    of all below the children. A child is drawn by what it and all below it have scored. A child that is only a step is
    followed to an answer, whose score it has. Ends early at a final score.
    """

    n_iters: Annotated[Rollouts, Field(description="children that are made")] = 32
    posterior: Annotated[
        Literal["gaussian", "beta"], Field(description="of a score; beta is for scores from 0 to 1")
    ] = "gaussian"

    async def run(self, tree: Tree) -> Thought | None:
        draw, rng = gaussian if self.posterior == "gaussian" else beta, tree.rng
        children = defaultdict[Thought, list[Thought]](list)
        wider, deeper, seen = (defaultdict[Thought, list[float]](list) for _ in range(3))
        for _ in range(self.n_iters):
            node = tree.root
            while draw(rng, wider[node]) < draw(rng, deeper[node]) and children[node]:
                draws = [draw(rng, seen[child]) for child in children[node]]
                node = children[node][draws.index(max(draws))]
            made = await tree.expand([node], 1)
            ends = await to_answers(tree, made)
            await tree.score(ends)
            for child, end in zip(made, ends, strict=True):
                if end.score is None:
                    continue
                if child is not node:
                    children[node].append(child)
                    wider[node].append(end.score.value)
                    seen[child].append(end.score.value)
                for above in node.ancestors()[:-1]:
                    seen[above].append(end.score.value)
                    deeper[above.parents[0]].append(end.score.value)
                if end.score.final:
                    return tree.best()
        return tree.best()
