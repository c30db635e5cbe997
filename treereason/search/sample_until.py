"""Sampling until a score is final: the baseline that explains much of what searches seem to gain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from treereason.core import Thought, Tree
from treereason.search.limits import Samples
from treereason.search.sampling import sample_answers


@dataclass(frozen=True)
class SampleUntil:
    """Take independent samples, some at a time, until one has a final score; at most n. Answers with the best one.

    With a scorer that knows no final score it is best of n.
    """

    n: Annotated[Samples, Field(description="samples at most")] = 16
    at_once: Annotated[Samples, Field(description="samples of a round, decoded together")] = 1

    async def run(self, tree: Tree) -> Thought | None:
        for first in range(0, self.n, self.at_once):
            samples = await sample_answers(tree, min(self.at_once, self.n - first))
            await tree.score(samples)
            if not samples or any(sample.score is not None and sample.score.final for sample in samples):
                break
        return tree.best()
