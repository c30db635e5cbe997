"""How likely proposed tokens are right, learned from those that were."""

from __future__ import annotations

from treereason.engine.schedule.draft import Draft

PRIOR, PRIOR_TRIES = 0.6, 4.0
"""Before anything was seen: hopeful, so that drafts are tried."""
MEMORY = 256.0
"""Tries that are remembered of a level: texts change."""


class Chances:
    """Of a token of each level, given that all before it in its draft are right."""

    def __init__(self) -> None:
        self._tries: dict[int, float] = {}
        self._right: dict[int, float] = {}

    def of(self, draft: Draft) -> list[float]:
        """For each token of a draft, the chance that it and all before it are right."""
        chances: list[float] = []
        for level, parent in zip(draft.levels, draft.parents, strict=True):
            chances.append(self._of_level(level) * (chances[parent] if parent >= 0 else 1.0))
        return chances

    def learn(self, draft: Draft, right: list[int], *, cut_short: bool) -> None:
        """Note which tokens were right. cut_short: the branch ended behind the last of them, so nothing followed."""
        reached = {-1, *right}
        if cut_short:
            reached.discard(right[-1] if right else -1)
        for index, (level, parent) in enumerate(zip(draft.levels, draft.parents, strict=True)):
            if parent in reached:
                tries, hits = self._tries.get(level, 0.0), self._right.get(level, 0.0)
                if tries >= MEMORY:
                    tries, hits = tries / 2, hits / 2
                self._tries[level] = tries + 1
                self._right[level] = hits + (index in right)

    def _of_level(self, level: int) -> float:
        return (self._right.get(level, 0.0) + PRIOR * PRIOR_TRIES) / (self._tries.get(level, 0.0) + PRIOR_TRIES)
