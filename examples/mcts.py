"""Monte Carlo tree search: treereason task=few_shot task.stepwise=true scorer=steps_hold search=./examples/mcts.py"""

from collections import Counter
from dataclasses import dataclass
from math import inf, log, sqrt
from typing import Annotated

from pydantic import Field

from treereason import Thought, Tree


@dataclass(frozen=True)
class MCTS:
    """UCT (Kocsis and Szepesvari 2006) over thoughts, as in RAP (arXiv 2305.14992): select, expand to the end, back up."""

    n_iters: Annotated[int, Field(ge=1, description="rollouts")] = 8
    k: Annotated[int, Field(ge=1, description="children of an expanded thought")] = 3
    c: Annotated[float, Field(ge=0, description="weight of exploration")] = 1.0
    depth_limit: Annotated[int, Field(ge=1, description="steps at most")] = 12

    async def run(self, tree: Tree) -> Thought | None:
        visits, total, children = Counter[Thought](), Counter[Thought](), dict[Thought, list[Thought]]()

        def uct(thought: Thought) -> tuple[float, float]:
            n = visits[thought]
            bonus = self.c * sqrt(log(visits[thought.parent]) / n) if n else inf
            return (total[thought] / n if n else 0.0) + bonus, thought.score.value

        for _ in range(self.n_iters):
            node = tree.root
            while children.get(node):
                node = max(children[node], key=uct)
            while node not in children and node.depth < self.depth_limit:
                made = [thought for thought in await tree.expand([node], self.k) if thought is not node]
                await tree.score(made)
                children[node] = [thought for thought in made if thought.score]
                node = max(children[node], key=lambda thought: thought.score.value, default=node)
            value = node.score.value if node.score else 0.0
            while node:
                visits[node], total[node], node = visits[node] + 1, total[node] + value, node.parent
        return tree.best()
