"""Monte Carlo tree search over thoughts (RAP: Hao et al. 2023, arXiv 2305.14992, algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Annotated, Literal

from pydantic import Field

from treereason.core import Thought, Tree
from treereason.search.limits import Rollouts, Samples, Steps, Weight
from treereason.search.upper_bounds import Visits


@dataclass(frozen=True)
class MCTS:
    """Select a leaf by an upper bound, roll out by the best scored children, back the last score up.

    d, w_exp and the number of rollouts of the paper are `k`, `c` and `n_iters`. Ends early at a final score, and after
    `patience` rollouts that found nothing better (exits of both kinds: Kim et al. 2026, arXiv 2604.00510).
    """

    n_iters: Annotated[Rollouts, Field(description="rollouts")] = 16
    k: Annotated[Samples, Field(description="children of an expanded thought")] = 3
    c: Annotated[Weight, Field(description="weight of exploration")] = 1.0
    depth_limit: Annotated[Steps, Field(description="steps at most")] = 40
    policy: Annotated[Literal["uct", "puct"], Field(description="bound by which a child is selected")] = "uct"
    backup: Annotated[Literal["mean", "max"], Field(description="a thought's value, of its rollouts'")] = "mean"
    parallel: Annotated[Samples, Field(description="leaves in flight, with virtual loss")] = 1
    patience: Annotated[Rollouts | None, Field(description="rollouts in vain that end the search")] = None

    async def run(self, tree: Tree) -> Thought | None:
        visits, best, num_done, last_gain = Visits(self.backup), -inf, 0, 0
        while num_done < self.n_iters and num_done - last_gain < (self.patience or inf):
            together = min(self.parallel, self.n_iters - num_done)
            ends = [end for end in await tree.gather(*(self.rollout(tree, visits) for _ in range(together))) if end]
            scores = [end.score for end in ends if end.score is not None]
            num_done += len(ends)
            if any(score.final for score in scores):
                break
            if (highest := max((score.value for score in scores), default=-inf)) > best:
                best, last_gain = highest, num_done
        return tree.best()

    async def rollout(self, tree: Tree, visits: Visits) -> Thought | None:
        """The end of one rollout; None when another one expands the leaf that it would take."""
        path = [tree.root]
        while below := visits.children.get(path[-1]):
            path.append(visits.highest(below, self.policy, self.c))
        if (node := path[-1]) in visits.growing:
            return None
        visits.start(path)
        while node not in visits.children and node.depth < self.depth_limit:
            visits.growing.add(node)
            made = [thought for thought in await tree.expand([node], self.k) if thought is not node]
            await tree.score(made)
            node = visits.grown(node, made)
        visits.finish(path, node)
        return node
