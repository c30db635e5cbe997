"""When a step is worth drafts, and how many rows of them: what steps take, measured as the run goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from treereason.engine.speculation.lookout import Lookout
from treereason.engine.speculation.step_times import SIZES, StepTimes

FEW = 8
PLAIN, TRIALS = 2, 3
"""Steps without drafts, and with some, that are seen before one kind is preferred."""
MEMORY = 0.9
"""Weight of what was seen before, with each step."""
PAYS = 0.98
"""Drafts go on where their tokens took less than this share of what they take without."""
MOST_LOST = 0.01
"""While drafts have lost more than this share of the run's time, over what they saved, none are tried; what it takes to
ask for them counts before they are."""
EVERY, RAREST = 32, 512
"""After so many steps the other kind is tried for TRIALS, the first one not counted: it reads what was written
meanwhile. Each time that it is worse, after twice as many."""


@dataclass
class _Verdict:
    """On steps with about as many branches. spent_ms: of steps with drafts. worth_ms: of their tokens without."""

    spent_ms: float = 0.0
    worth_ms: float = 0.0
    count: int = 0
    drafts: bool = True
    since: int = 0
    every: int = EVERY

    def add(self, spent_ms: float, worth_ms: float) -> None:
        self.spent_ms = MEMORY * self.spent_ms + spent_ms
        self.worth_ms = MEMORY * self.worth_ms + worth_ms
        self.count += 1

    def next(self) -> bool:
        """Whether the step is to have drafts."""
        if self.count < TRIALS:
            return True
        pays = self.spent_ms < PAYS * self.worth_ms
        if pays != self.drafts:
            self.drafts, self.since, self.every = pays, 0, EVERY
        self.since += 1
        if self.since > self.every + TRIALS:
            self.since, self.every = 1, min(RAREST, 2 * self.every)
        return pays == (self.since <= self.every)


class RowBudget:
    """Tells when to ask for drafts, and which of their rows to compute: those that bring most tokens a second.

    First it looks whether drafts would be right; where they would, steps with drafts are compared with steps without by
    what they took, so that all is counted that drafts cost: their rows, and what it takes to find them.
    """

    def __init__(self) -> None:
        self.lookout = Lookout()
        self._plain = StepTimes()
        self._all = StepTimes()
        self._verdicts: dict[int, _Verdict] = {}
        self._kind: Literal["look", "plain", "draft"] = "plain"
        self._is_first = False
        self._lost_ms = 0.0

    def next(self, num_branches: int, num_unread: int = 0) -> Literal["look", "plain", "draft"]:
        """What the step does: nothing more, look whether drafts would be right, or have some; called once a step.

        num_unread: tokens that who proposes would read first.
        """
        kind = self.lookout.next()
        if kind == "draft" and not self._may_draft(num_branches, num_unread):
            kind = "plain"
        self._is_first, self._kind = kind not in ("plain", self._kind), kind
        return kind

    def measure(self, num_rows: int, num_branches: int, num_tokens: int, ms: float) -> None:
        """The step had so many rows, each with logits, drew so many tokens, and took so long."""
        self.lookout.run_ms += ms
        if not self.lookout.has_seen:
            return
        if not self._is_first:
            ms = self._all.add(num_rows, ms)
        if self._kind == "draft":
            worth_ms = self.plain_ms(num_branches) * num_tokens / num_branches
            self._lost_ms += ms - worth_ms
            if not self._is_first:
                self._of(num_branches).add(ms, worth_ms)
        elif not self._is_first:
            self._plain.add(num_branches, ms)

    def _may_draft(self, num_branches: int, num_unread: int) -> bool:
        lost_ms = self._lost_ms + self.lookout.asking_ms(num_unread)
        if self._plain.count(num_branches) < PLAIN or lost_ms > MOST_LOST * self.lookout.run_ms:
            return False
        return self._of(num_branches).next()

    def plain_ms(self, num_branches: int) -> float:
        """What a step takes that has no drafts."""
        return self._plain.ms(num_branches)

    def choose(self, num_rows: int, num_branches: int, chances: Sequence[float]) -> int:
        """How many rows of drafts to compute beside `num_rows` others. chances: of each row that could be, falling.

        A token is worth what one takes in the best step of branches alone; rows of prompts make no token cheaper.
        """
        brings = [0.0, *accumulate(chances)]
        counts = [0, *_counts(num_branches, len(chances))]
        pace = max((num_branches + brings[count]) / self._all.ms(num_branches + count) for count in counts)
        return max(counts, key=lambda count: brings[count] / pace - self._all.ms(num_rows + count))

    def _of(self, num_branches: int) -> _Verdict:
        return self._verdicts.setdefault(num_branches.bit_length() // 2, _Verdict())


def _counts(num_branches: int, most: int) -> list[int]:
    """Numbers of rows to compare: all small ones, and those that fill up a size."""
    found = {count for count in range(1, FEW + 1) if count <= most}
    return sorted(found | {size - num_branches for size in SIZES if num_branches < size <= num_branches + most})
