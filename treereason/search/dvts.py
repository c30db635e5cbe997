"""Diverse verifier tree search (Beeching, Tunstall and Rush 2024, "Scaling test-time compute with open models")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from treereason.core import Thought, Tree
from treereason.search.limits import Samples, Steps


@dataclass(frozen=True)
class DVTS:
    """n / beam_width subtrees that never compete: in each, the best of beam_width steps goes on.

    N and M of the report are `n` and `beam_width`. Answers with the best scored answer of all subtrees.
    """

    n: Annotated[Samples, Field(description="branches of all subtrees together")] = 16
    beam_width: Annotated[Samples, Field(description="candidates per subtree and step")] = 4
    steps: Annotated[Steps, Field(description="steps at most")] = 40

    async def run(self, tree: Tree) -> Thought | None:
        await tree.gather(*(self.subtree(tree) for _ in range(max(1, self.n // self.beam_width))))
        return tree.best()

    async def subtree(self, tree: Tree) -> None:
        """One subtree, from the root to its end."""
        beam = [tree.root]
        for _ in range(self.steps):
            candidates = await tree.expand(beam, self.beam_width)
            if candidates in ([], beam):
                break
            await tree.score(candidates)
            beam = tree.keep([candidate for candidate in candidates if candidate.score is not None], 1)
