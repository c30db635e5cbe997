"""Where texts went on after the tokens that stand at the end of another text: drafts without a model.

Drafts from text that is there already: prompt lookup (Saxena 2023), REST (He et al. 2023), SuffixDecoding (Oliaro et
al. 2024), which keeps suffix trees. Here are hash tables of the last few tokens, which is O(1) a token, and a pointer
that goes on along a text as long as it is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import repeat

CONTEXTS = (6, 4, 3, 2)
"""Numbers of tokens that are looked up, the most first."""
MOST_ENTRIES = 1 << 18
"""Contexts of a generation. Two are held, so that memory has a bound: the older is dropped when the younger is full."""

Place = tuple[list[int], int]
"""A text, and the index of the token that came next there."""


@dataclass(eq=False)
class Follower:
    """A growing text, and the place in another one that it has followed so far.

    tokens: what it continues, as far as contexts reach (num_before tokens), then its own. matched: tokens that were the
    same, at least.
    """

    tokens: list[int]
    source: Place | None = None
    matched: int = 0
    num_before: int = 0


@dataclass
class SuffixIndex:
    """Texts of one owner. The latest place of a context is the one that is found."""

    _young: dict[tuple[int, ...], Place] = field(default_factory=dict)
    _old: dict[tuple[int, ...], Place] = field(default_factory=dict)

    def add(self, tokens: list[int], first: int) -> None:
        """Enter the places of tokens[first:]. The list is kept, and may grow."""
        young = self._young
        for length in CONTEXTS:
            start = max(first, length)
            if len(tokens) == start + 1:  # a branch has grown, as usual
                young[tuple(tokens[-1 - length : -1])] = tokens, start
                continue
            columns = (tokens[start - length + i :] for i in range(length))
            young.update(zip(zip(*columns, strict=False), zip(repeat(tokens), range(start, len(tokens))), strict=False))
        if len(young) > MOST_ENTRIES:
            self._old, self._young = young, {}

    def find(self, tokens: list[int], more_than: int = 0) -> Iterator[tuple[Place, int]]:
        """Where texts went on after the contexts at the end of `tokens`, and the lengths of these, the longest first.

        more_than: shorter contexts, and those of this length, are not wanted.
        """
        for length in CONTEXTS:
            if more_than < length <= len(tokens):
                context = tuple(tokens[-length:])
                place = self._young.get(context) or self._old.get(context)
                if place is not None:
                    yield place, length

    def grow(self, follower: Follower, tokens: list[int]) -> None:
        """Let a text have these tokens more."""
        first = len(follower.tokens)
        for token in tokens:
            source = follower.source
            if source is not None and source[1] < len(source[0]) and source[0][source[1]] == token:
                follower.source = source[0], source[1] + 1
                follower.matched += 1
            else:
                follower.source, follower.matched = None, 0
        follower.tokens += tokens
        self.add(follower.tokens, first)
