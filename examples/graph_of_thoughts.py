"""Graph of thoughts for sorting: treereason task=sorting task.length=64 search=./examples/graph_of_thoughts.py"""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

from pydantic import Field

from treereason import Prompt, Thought, Tree


@dataclass(frozen=True)
class GraphOfThoughts:
    """Split, sort the halves, merge the best, improve (Besta et al. 2023, arXiv 2308.09687); for the shipped model."""

    k: Annotated[int, Field(ge=1, description="samples per operation")] = 3

    async def run(self, tree: Tree) -> Thought | None:
        digits = "".join(map(str, tree.root.problem.input))
        middle = len(digits) // 2
        halves = await tree.gather(self.half(tree, digits[:middle]), self.half(tree, digits[middle:]))
        merge = Prompt("merge {}+{}=".format(*(half.text for half in halves)), max_tokens=len(digits) + 8)
        merged = await tree.join(halves, merge, self.k)
        await tree.score(merged)
        improved = await tree.expand(tree.keep(merged, 1), self.k)
        await tree.score(improved)
        return tree.best()

    async def half(self, tree: Tree, digits: str) -> Thought:
        sort = Prompt(f"sort {digits}=", max_tokens=len(digits) + 8)
        made = await tree.expand([tree.root], self.k, prompt=sort, part=True)
        await tree.score(made, by=lambda thought: -errors(digits, thought.text))
        return tree.keep(made, 1)[0]


def errors(given: str, found: str) -> int:
    counts, wrong = Counter(given), Counter(found)
    return ((counts - wrong) + (wrong - counts)).total() + sum(a > b for a, b in pairwise(found))
