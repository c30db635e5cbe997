"""One sample per problem: the baseline that every search has to beat."""

from __future__ import annotations

from dataclasses import dataclass

from treereason.core import Thought, Tree
from treereason.search.sampling import sample_answers


@dataclass(frozen=True)
class SingleSample:
    """Answer with one sample, whatever its score."""

    async def run(self, tree: Tree) -> Thought | None:
        samples = await sample_answers(tree, 1)
        return next((sample for sample in samples if sample.answer is not None), None)
