"""Speculative decoding of a step: drafts are asked for, laid into free pages and rows, and verified."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakKeyDictionary

from treereason.engine.kv.cache import KVCache
from treereason.engine.kv.forest import Forest
from treereason.engine.schedule.branch import Branch
from treereason.engine.schedule.draft import Draft, LaidDraft, lay
from treereason.engine.schedule.step_batch import StepBatch
from treereason.engine.speculation.chances import Chances
from treereason.engine.speculation.drafter import Drafter
from treereason.engine.speculation.row_budget import RowBudget
from treereason.engine.speculation.verify import Take, verify

LOOKED_AT = 2
"""Branches whose drafts are compared where none is computed."""


@dataclass
class Figures:
    """Of a run: rows that were spent on drafts, tokens that came from them, and by depth how many were proposed and
    were right. saved_s: what it saved by the budget's measurements, where there is a budget; a cost is negative.
    """

    rows: int = 0
    tokens: int = 0
    proposed: list[int] = field(default_factory=list)
    right: list[int] = field(default_factory=list)
    saved_s: float = 0.0


class Speculation:
    """Adds drafts to steps. max_rows: rows that a step may have in all. budget: into which rows drafts may go; all that
    are proposed without one.
    """

    def __init__(
        self, forest: Forest, cache: KVCache, drafter: Drafter, *, max_rows: int, budget: RowBudget | None = None
    ) -> None:
        self._forest = forest
        self._cache = cache
        self._drafter = drafter
        self._max_rows = max_rows
        self._budget = budget
        self._chances = Chances()
        self._looked: list[tuple[Branch, Draft, int]] = []
        self._num_read: WeakKeyDictionary[Branch, int] = WeakKeyDictionary()
        self.figures = Figures()

    def add(self, batch: StepBatch) -> None:
        """Lay drafts behind the batch's branches and enter their rows. Nothing is evicted for them."""
        self._compare()
        num_branches = len(batch.branches)
        if not num_branches or (self._budget is not None and not _is_comparable(batch)):
            return
        kind: Literal["look", "plain", "draft"] = "draft"
        if self._budget is not None:
            num_unread = self._num_unread(batch.branches) if self._budget.lookout.has_seen else 0
            kind = self._budget.next(num_branches, num_unread)
        num_rows = sum(batch.tokens.values()) if kind != "plain" else 0
        num_free = self._max_rows - num_rows
        if kind == "plain" or num_free <= 0:
            return
        able = [branch for branch in batch.branches if branch.max_tokens - len(branch.tokens) > 1]
        if kind == "look":
            self._look(able[:LOOKED_AT])
            return
        drafts = [_within(branch, draft) for branch, draft in zip(able, self._ask(able), strict=True)]
        chances = [self._chances.of(draft) for draft in drafts]
        ranked = sorted((-chance, i, index) for i, of in enumerate(chances) for index, chance in enumerate(of))
        ranked = ranked[:num_free]
        if self._budget is not None:
            ranked = ranked[: self._budget.choose(num_rows, num_branches, [-entry[0] for entry in ranked])]
        kept: dict[int, list[int]] = {}
        for _, i, index in sorted(ranked, key=lambda entry: entry[1:]):
            kept.setdefault(i, []).append(index)
        for i, indexes in kept.items():
            laid = lay(self._forest, able[i], drafts[i].only(indexes))
            if laid is None:
                break
            batch.drafts[able[i]] = laid
            for node, _ in laid.places:
                batch.tokens[node] = batch.tokens.get(node, 0) + 1

    def verify(self, laid: LaidDraft, first_row: int, take: Take) -> int:
        """As `verify`; returns how many tokens of the draft were right."""
        right = verify(laid, first_row, take, self._forest, self._cache)
        self._chances.learn(laid.draft, right, cut_short=laid.branch.done)
        self._count(laid.draft, right)
        return len(right)

    def measure(self, batch: StepBatch, num_right: int, seconds: float) -> None:
        """Note what the step took, and what its drafts saved."""
        if self._budget is None or not _is_comparable(batch) or not batch.branches:
            return
        num_branches = len(batch.branches)
        num_rows = sum(batch.tokens.values()) if batch.drafts else num_branches
        self._budget.measure(num_rows, num_branches, num_branches + num_right, 1e3 * seconds)
        if batch.drafts:
            alone = self._budget.plain_ms(num_branches) / 1e3
            self.figures.saved_s += alone * (1 + num_right / num_branches) - seconds

    def _look(self, branches: list[Branch]) -> None:
        """Ask what would be proposed, and compute none of it."""
        assert self._budget is not None
        began, num_unread = time.perf_counter(), self._num_unread(branches)
        found = zip(branches, self._ask(branches), strict=True)
        self._looked = [
            (branch, draft.only([0] if draft.tokens else []), len(branch.tokens)) for branch, draft in found
        ]
        self._budget.lookout.looked(num_unread, 1e3 * (time.perf_counter() - began))

    def _ask(self, branches: list[Branch]) -> list[Draft]:
        for branch in branches:
            self._num_read[branch] = len(branch.tokens)
        return self._drafter.propose(branches)

    def _num_unread(self, branches: list[Branch]) -> int:
        """Tokens of these branches that have come since the drafter was last asked for them."""
        return sum(len(branch.tokens) - self._num_read.get(branch, 0) for branch in branches)

    def _compare(self) -> None:
        """Learn from what was proposed and not computed."""
        for branch, draft, at in self._looked:
            if len(branch.tokens) > at:
                is_right = branch.tokens[at : at + 1] == draft.tokens
                self._chances.learn(draft, [0] if is_right else [], cut_short=False)
                assert self._budget is not None
                self._budget.lookout.note(is_right)
        self._looked = []

    def forget(self, problem: str) -> None:
        """Drop all that is held for a problem that has ended."""
        self._drafter.forget(problem)

    def report(self) -> dict[str, Any]:
        """The figures of the run, as summary.json holds them."""
        figures = self.figures
        return {
            "tokens_from_drafts": figures.tokens,
            "rows": figures.rows,
            "proposed_by_depth": figures.proposed,
            "right_by_depth": figures.right,
            **({"saved_s": round(figures.saved_s, 3)} if self._budget is not None else {}),
        }

    def _count(self, draft: Draft, right: list[int]) -> None:
        figures = self.figures
        figures.rows += len(draft.tokens)
        figures.tokens += len(right)
        depths = draft.depths()
        for counts, indexes in ((figures.proposed, range(len(depths))), (figures.right, right)):
            for depth in [depths[index] for index in indexes]:
                counts += [0] * (depth + 1 - len(counts))
                counts[depth] += 1


def _is_comparable(batch: StepBatch) -> bool:
    """Whether the step decodes and does nothing else, so that its time tells what drafts cost."""
    return not (batch.num_prefilled or batch.num_rebuilt or batch.given)


def _within(branch: Branch, draft: Draft) -> Draft:
    """What of a draft the branch could take: its last token has nothing behind it."""
    most = branch.max_tokens - len(branch.tokens) - 1
    kept = [index for index, depth in enumerate(draft.depths()) if depth < most]
    return draft if len(kept) == len(draft.tokens) else draft.only(kept)
