"""Monte Carlo tree search: treereason task=few_shot task.stepwise=true scorer=steps_hold search=./examples/mcts.py"""

from collections import defaultdict
from dataclasses import dataclass
from math import inf, log, sqrt
from typing import Annotated

from pydantic import Field

from treereason import Thought, Tree


@dataclass(frozen=True)
class MCTS:
    """UCT (Kocsis and Szepesvari 2006) over thoughts, as in RAP (arXiv 2305.14992): select, roll out, back up."""

    n_iters: Annotated[int, Field(ge=1, description="rollouts")] = 8
    k: Annotated[int, Field(ge=1, description="children of an expanded thought")] = 3
    c: Annotated[float, Field(ge=0, description="weight of exploration")] = 1.0
    depth_limit: Annotated[int, Field(ge=1, description="steps at most")] = 12

    async def run(self, tree: Tree) -> Thought | None:
        seen, children = defaultdict[Thought, list[float]](list), dict[Thought, list[Thought]]()

        def uct(thought: Thought) -> tuple[float, float]:
            n, above = len(seen[thought]), len(seen[thought.parent])
            return sum(seen[thought]) / n + self.c * sqrt(log(above) / n) if n else inf, thought.score.value

        for _ in range(self.n_iters):
            node = tree.root
            while children.get(node):
                node = max(children[node], key=uct)
            while node not in children and node.depth < self.depth_limit:
                made = [thought for thought in await tree.expand([node], self.k) if thought is not node]
                await tree.score(made)
                children[node] = [thought for thought in made if thought.score]
                node = max(children[node], key=lambda thought: thought.score.value, default=node)
            for thought in node.ancestors():
                seen[thought].append(node.score.value if node.score else 0.0)
        return tree.best()
