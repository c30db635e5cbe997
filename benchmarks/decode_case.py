"""The works of `benchmarks.decode`, and what a side of it is. Standard library only: peers import it too."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class Case:
    """Trees to decode. Every prompt is `shared` and then one of `own`, one tree each.

    levels: (branches, tokens), top down: below every prompt, then below every branch of the level above, so many
    branches of so many tokens. temperature 0 is greedy.
    """

    shared: tuple[int, ...]
    own: tuple[tuple[int, ...], ...]
    levels: tuple[tuple[int, int], ...]
    temperature: float = 0.7

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """A case from its fields as JSON gives them, with lists for tuples."""
        own = tuple(tuple(tokens) for tokens in values["own"])
        levels = tuple((branches, tokens) for branches, tokens in values["levels"])
        return cls(tuple(values["shared"]), own, levels, values["temperature"])

    @property
    def most_branches(self) -> int:
        """How many decode together at the last level."""
        count = len(self.own)
        for branches, _ in self.levels:
            count *= branches
        return count

    @property
    def kv_tokens(self) -> int:
        """Tokens of all trees together, what is shared counted once."""
        total, count = len(self.shared) + sum(map(len, self.own)), len(self.own)
        for branches, tokens in self.levels:
            count *= branches
            total += count * tokens
        return total


@dataclass(frozen=True)
class Work:
    """Sizes of a case: tokens that all prompts share, prompts, tokens of each one's own, levels as in Case."""

    title: str
    shared: int
    levels: tuple[tuple[int, int], ...]
    trees: int = 1
    own: int = 0

    def case(self, seed: int, vocabulary: int, temperature: float = 0.7) -> Case:
        """Its prompts at random, others for every seed."""
        draw = random.Random(seed)
        shared, *own = (
            tuple(draw.randrange(vocabulary) for _ in range(length))
            for length in (self.shared, *[self.own] * self.trees)
        )
        return Case(shared, tuple(own), self.levels, temperature)

    def divided(self, by: int) -> Work:
        """The same shape with every length divided, branches kept: a warm-up, or a quick look."""
        levels = tuple((branches, max(2, tokens // by)) for branches, tokens in self.levels)
        return replace(self, shared=max(2, self.shared // by), own=-(-self.own // by), levels=levels)


WORKS = {
    "900": Work("900 tokens, 16 samples of 128", 900, ((16, 128),)),
    "1024": Work("1,024 tokens, 32 samples of 64", 1024, ((32, 64),)),
    "4096": Work("4,096 tokens, 32 samples of 64", 4096, ((32, 64),)),
    "tree": Work("2,048 tokens, 8 branches of 128, 8 of 64 below each", 2048, ((8, 128), (8, 64))),
    "forest": Work("16 prompts, 600 tokens shared and 100 own, 8 branches of 64 each", 600, ((8, 64),), 16, 100),
}


@dataclass(frozen=True)
class Model:
    """A model in transformers' format, in a folder where a side may put its own form of it."""

    folder: Path
    dtype: str
    threads: int


Job = Callable[[], list[list[int]]]
Side = Callable[[Case], Job]
"""Makes ready for a case, and returns what is timed: it decodes every level and returns the tokens, [branch][token],
the branches of one level after those of the level above; where greedy, a side may decode equal branches once."""
