"""Beam search against a step scorer (Snell et al. 2024, arXiv 2408.03314, section 5.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from treereason.core import Sampling, Thought, Tree
from treereason.search.limits import MOST_STEPS, Samples, Steps


@dataclass(frozen=True)
class Beam:
    """n first steps; then, again and again, the n / beam_width best are kept and each gets beam_width next steps.

    N, M and k of the paper are `n`, `beam_width` and `lookahead`. With a lookahead a step has the score of what lies
    so many greedy steps below it. Answers with the best scored answer.
    """

    n: Annotated[Samples, Field(description="branches of a step")] = 16
    beam_width: Annotated[Samples, Field(description="next steps of each kept thought")] = 4
    lookahead: Annotated[
        int, Field(ge=0, le=MOST_STEPS, description="greedy steps below a thought, the last of which is scored")
    ] = 0
    steps: Annotated[Steps, Field(description="steps at most")] = 40

    async def run(self, tree: Tree) -> Thought | None:
        beam, k = [tree.root], self.n
        for _ in range(self.steps):
            thoughts = await tree.expand(beam, k)
            if thoughts in ([], beam):
                break
            await self.score(tree, [thought for thought in thoughts if thought.score is None])
            above, beam = beam, tree.keep([t for t in thoughts if t.score], max(1, self.n // self.beam_width))
            tree.drop(thought for thought in above if thought not in beam)
            k = self.beam_width
        return tree.best()

    async def score(self, tree: Tree, thoughts: list[Thought]) -> None:
        """Score thoughts by the ends of their lookaheads."""
        ends = dict(zip(thoughts, thoughts, strict=True))
        for _ in range(self.lookahead):
            below = await tree.expand(list(ends.values()), 1, sampling=Sampling(temperature=0))
            ends |= {above: end for above, old in ends.items() for end in below if end.parent is old}
        await tree.score(list(ends.values()))
        for thought, end in ends.items():
            thought.score = end.score
        tree.drop(end for thought, end in ends.items() if end is not thought)
