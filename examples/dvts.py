"""Diverse verifier tree search: treereason task=few_shot task.stepwise=true search=./examples/dvts.py"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from treereason import Thought, Tree


@dataclass(frozen=True)
class DVTS:
    """n / beam_width subtrees that never compete: each keeps its own best step (Beeching et al. 2024)."""

    n: Annotated[int, Field(ge=1, description="branches in all subtrees together")] = 16
    beam_width: Annotated[int, Field(ge=1, description="candidates per subtree and step")] = 4
    steps: Annotated[int, Field(ge=1, description="steps at most")] = 12

    async def run(self, tree: Tree) -> Thought | None:
        await tree.gather(*(self.subtree(tree) for _ in range(max(1, self.n // self.beam_width))))
        return tree.best()

    async def subtree(self, tree: Tree) -> None:
        beam = [tree.root]
        for _ in range(self.steps):
            candidates = await tree.expand(beam, self.beam_width)
            if candidates in ([], beam):
                return
            await tree.score(candidates)
            beam = tree.keep(candidates, 1)
