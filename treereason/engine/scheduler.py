"""Who computes in the next step: all running branches, one token each, and prompts up to a token budget."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from treereason.core import Expansion
from treereason.engine.branch import Branch
from treereason.engine.kv.eviction import StepMemory
from treereason.engine.kv.forest import Forest, Node


@dataclass(eq=False)
class PendingPrompt:
    """A prompt whose last token's logits start the children of `expansion`. It holds `node`."""

    expansion: Expansion
    node: Node
    num_prefilled: int = 0


@dataclass
class StepBatch:
    """One step. tokens: how many tokens of each node to compute. branches, prompts: whose last token is among them.

    num_prefilled counts prompt tokens computed for the first time, num_rebuilt any tokens computed again after an
    eviction. too_large: who would not fit into the pool alone.
    """

    tokens: dict[Node, int] = field(default_factory=dict)
    branches: list[Branch] = field(default_factory=list)
    prompts: list[PendingPrompt] = field(default_factory=list)
    num_prefilled: int = 0
    num_rebuilt: int = 0
    too_large: list[Branch | PendingPrompt] = field(default_factory=list)


class Scheduler:
    """First come, first served. At most `max_branches` decode in a step, at most `prefill_tokens` are prefilled.

    When the pool is full, older branches go on, younger ones wait without KV, and no prompt starts before they do.
    """

    def __init__(self, max_branches: int, prefill_tokens: int) -> None:
        self._max_branches = max_branches
        self._prefill_tokens = prefill_tokens
        self._prompts: deque[PendingPrompt] = deque()
        self._waiting: deque[Branch] = deque()
        self._running: list[Branch] = []

    @property
    def busy(self) -> bool:
        return bool(self._prompts or self._waiting) or any(not branch.done for branch in self._running)

    @property
    def num_waiting(self) -> int:
        return len(self._waiting) + sum(len(job.expansion.children) for job in self._prompts)

    def add_prompt(self, job: PendingPrompt) -> None:
        self._prompts.append(job)

    def add_branch(self, branch: Branch) -> None:
        self._waiting.append(branch)

    def pick(self, forest: Forest, step: int) -> StepBatch:
        """Choose the step's work and make room for its KV; its tokens count as stored from here on."""
        work = StepBatch()
        self._running = [branch for branch in self._running if not branch.done]
        while self._waiting and len(self._running) < self._max_branches:
            self._running.append(self._waiting.popleft())
        room = StepMemory(forest, [branch.node for branch in self._running], step)
        budget = self._prefill_tokens
        crowded = False
        for branch in self._running:
            if room.take_next(branch.node):
                work.tokens[branch.node] = 1
                work.branches.append(branch)
                continue
            taken = self._take(branch.node, room, work, budget)
            if taken is None and room.empty:
                work.too_large.append(branch)
            elif taken is None:
                crowded = True
            else:
                budget -= taken if taken > 1 else 0
                if not branch.node.num_pending:
                    work.branches.append(branch)
        while self._prompts and budget > 0 and not crowded:
            job = self._prompts[0]
            taken = self._take(job.node, room, work, budget, job)
            if taken is None:
                if room.empty:
                    work.too_large.append(self._prompts.popleft())
                break
            budget -= taken
            if job.node.num_pending:
                break
            work.prompts.append(self._prompts.popleft())
        return work

    def drop(self, problem: str) -> list[Branch | PendingPrompt]:
        """Forget all that is queued or running for a problem, and return it."""
        dropped: list[Branch | PendingPrompt] = [job for job in self._prompts if job.expansion.problem == problem]
        dropped += [b for b in (*self._waiting, *self._running) if b.problem == problem and not b.done]
        self._prompts = deque(job for job in self._prompts if job.expansion.problem != problem)
        self._waiting = deque(branch for branch in self._waiting if branch.problem != problem)
        self._running = [branch for branch in self._running if branch.problem != problem]
        return dropped

    def _take(
        self, node: Node, room: StepMemory, work: StepBatch, budget: int, job: PendingPrompt | None = None
    ) -> int | None:
        """Enter up to `budget` (at least one) of the tokens that `node`'s path lacks into the step, from the top.

        Returns how many; None when there is no room for them.
        """
        path = room.rest_of_path(node)
        counts: dict[Node, int] = {}
        left = max(budget, 1)
        for part in path:
            if left and (pending := part.num_pending):
                counts[part] = min(pending, left)
                left -= counts[part]
        num_rebuilt = room.take(path, counts)
        if num_rebuilt is None:
            return None
        num_tokens = sum(counts.values())
        for part, count in counts.items():
            work.tokens[part] = work.tokens.get(part, 0) + count
        work.num_rebuilt += num_rebuilt
        if job is not None:
            job.num_prefilled += num_tokens - num_rebuilt
            work.num_prefilled += num_tokens - num_rebuilt
        return num_tokens
