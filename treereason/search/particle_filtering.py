"""Particle filtering (Puri et al. 2025, arXiv 2502.01618, algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from typing import Annotated, Literal

from pydantic import Field

from treereason.core import Thought, Tree
from treereason.search.limits import Samples, Steps, Temperature
from treereason.search.softmax import softmax
from treereason.search.voting import by_vote, score_as_weight


@dataclass(frozen=True)
class ParticleFiltering:
    """n particles take a step each; then n are drawn from them by the softmax of their scores, to go on from there.

    N, r_hat and theta of the paper are `n`, the scores and the softmax. `entropic` (Giannone et al. 2025, arXiv
    2510.05825): at step t of T, when the effective sample size ESS = 1 / sum theta^2 is below n / 2, the temperature is
    times n / ESS (1 - t / T), if that is above 1, so that the search does not settle too early.
    """

    n: Annotated[Samples, Field(description="particles")] = 16
    temperature: Annotated[Temperature, Field(description="of the softmax of the scores")] = 1.0
    entropic: Annotated[bool, Field(description="draw more evenly while few particles hold the weight")] = False
    answer: Annotated[Literal["best", "vote"], Field(description="best score, or vote weighted by scores")] = "best"
    steps: Annotated[Steps, Field(description="steps at most")] = 40

    async def run(self, tree: Tree) -> Thought | None:
        particles = await tree.expand([tree.root], self.n)
        for step in range(1, self.steps + 1):
            await tree.score(list(dict.fromkeys(particles)))
            particles = [particle for particle in particles if particle.score is not None]
            if step == self.steps or not any(map(tree.unfinished, particles)):
                break
            drawn = tree.rng.choices(particles, self.weights(particles, step), k=self.n)
            tree.drop(particle for particle in particles if particle not in drawn)
            going = [particle for particle in dict.fromkeys(drawn) if tree.unfinished(particle)]
            particles = [particle for particle in drawn if particle not in going]
            particles += await tree.expand(going, [drawn.count(particle) for particle in going])
        return by_vote(particles, score_as_weight) if self.answer == "vote" else tree.best()

    def weights(self, particles: Sequence[Thought], step: int) -> list[float]:
        """Each particle's share; they sum to 1."""
        scores = [particle.score.value for particle in particles if particle.score is not None]
        shares = softmax(scores, self.temperature)
        effective = 1 / fsum(share * share for share in shares)
        if not self.entropic or effective >= len(shares) / 2:
            return shares
        return softmax(scores, self.temperature * max(1.0, len(shares) / effective * (1 - step / self.steps)))
