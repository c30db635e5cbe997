"""Best of n: independent samples, the highest score wins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from treereason.core import Thought, Tree
from treereason.search.sampling import MOST_SAMPLES, sample_answers


@dataclass(frozen=True)
class BestOfN:
    """Take n independent samples and answer with the one that has the highest score, the earliest of equals."""

    n: Annotated[int, Field(ge=1, le=MOST_SAMPLES, description="samples, of which the best scored one wins")] = 5

    async def run(self, tree: Tree) -> Thought | None:
        await tree.score(await sample_answers(tree, self.n))
        return tree.best()
