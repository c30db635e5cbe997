"""The trees and heads that FastTree (MLSys 2025) measures its kernel on, as its public artifact lists them.

Level i of a tree has `widths[i]` nodes of `tokens[i]` tokens, spread evenly under the level above; every leaf decodes.
"""

from __future__ import annotations

from typing import NamedTuple


class Levels(NamedTuple):
    """A tree by its levels, root first."""

    widths: tuple[int, ...]
    tokens: tuple[int, ...]

    @property
    def name(self) -> str:
        """As the paper's figure labels it: widths / tokens."""
        return " / ".join(",".join(map(str, numbers)) for numbers in self)


# (query heads, KV heads).
HEADS = ((32, 8), (32, 32), (16, 1))
TREES = (
    Levels((1, 2, 64), (8, 256, 32)),
    Levels((1, 4, 256), (8, 256, 32)),
    Levels((1, 4, 8, 256), (8, 256, 256, 32)),
    Levels((1, 256), (256, 32)),
    Levels((1, 1_024), (2_048, 32)),
    Levels((1, 16, 64), (1_024, 256, 32)),
    Levels((1, 4, 16, 512), (1_024, 256, 128, 32)),
    Levels((1, 4, 16, 64, 256, 1_024), (256, 8, 256, 64, 32, 256)),
    Levels((1, 10), (4_000, 400)),
    Levels((1, 2, 4, 8, 16, 32, 64, 128, 1_024), (16,) * 9),
    Levels((1, 2, 4, 8, 16, 32, 64, 128, 1_024), (256, 128, 64, 16, 16, 16, 16, 16, 16)),
    Levels((1, 8, 16, 32, 64, 128, 1_024), (256, 128, 64, 16, 16, 16, 16)),
    Levels((1, 8, 16, 32, 64, 256, 1_024), (256, 128, 64, 16, 16, 16, 16)),
    Levels((1, 16, 32, 64, 128, 1_024), (256, 128, 64, 16, 16, 16)),
    Levels((1, 16, 32, 64, 256, 1_024), (256, 128, 64, 16, 16, 16)),
)
