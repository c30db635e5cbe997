"""Best of n: independent samples, the highest score wins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from treereason.core import Thought, Tree
from treereason.search.sampling import sample_answers


@dataclass(frozen=True)
class BestOfN:
    """n samples; the earliest of the best scored."""

    n: Annotated[int, Field(ge=1)] = 5

    async def run(self, tree: Tree) -> Thought | None:
        await tree.score(await sample_answers(tree, self.n))
        return tree.best()
