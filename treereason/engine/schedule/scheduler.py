"""Who computes in the next step: all running branches, one token each, and prompts up to a token budget."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from treereason.engine.kv.forest import Forest, Node
from treereason.engine.kv.step_memory import StepMemory
from treereason.engine.schedule.branch import Branch
from treereason.engine.schedule.given_text import GivenText
from treereason.engine.schedule.pending_prompt import PendingPrompt
from treereason.engine.schedule.step_batch import StepBatch

MAX_GIVEN_TOKENS = 256
"""Tokens of given texts in a step: each wants a row of logits, so that memory for them has a bound."""


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
        return bool(self._prompts or self._waiting or any(not branch.done for branch in self._running))

    @property
    def num_waiting(self) -> int:
        """Children that do not decode yet."""
        return len(self._waiting) + sum(len(prompt.children) for prompt in self._prompts)

    def add_prompt(self, prompt: PendingPrompt) -> None:
        self._prompts.append(prompt)

    def add_branch(self, branch: Branch) -> None:
        self._waiting.append(branch)

    def pick(self, forest: Forest, step: int, ahead: Collection[Node] = ()) -> StepBatch:
        """Choose what the step computes and reserve its pages; its tokens count as stored from now on.

        ahead: nodes whose next token is being computed already, in pages that they have. As long as a branch grows one
        of them, the step is of these branches alone.
        """
        batch = StepBatch(step)
        self._running = [branch for branch in self._running if not branch.done]
        while self._waiting and len(self._running) < self._max_branches:
            self._running.append(self._waiting.popleft())
        memory = StepMemory(forest, [branch.node for branch in self._running], step)
        budget = self._prefill_tokens
        crowded = False
        going_on = [branch for branch in self._running if branch.node in ahead] if ahead else []
        for branch in going_on or self._running:
            if memory.reserve_next_token(branch.node):
                batch.tokens[branch.node] = 1
                batch.branches.append(branch)
                continue
            taken = self._take(branch.node, memory, batch, budget)
            if taken is None and memory.empty:
                batch.too_large.append(branch)
            elif taken is None:
                crowded = True
            else:
                budget -= taken if taken > 1 else 0
                if not branch.node.num_pending:
                    batch.branches.append(branch)
        batch.ends += [branch.node for branch in batch.branches]
        while self._prompts and budget > 0 and not crowded and not going_on:
            prompt = self._prompts[0]
            taken = self._take_prompt(prompt, memory, batch, budget)
            batch.given += [given for text in prompt.texts for given in text.measured_by(batch.tokens)]
            if taken is None:
                if memory.empty:
                    batch.too_large.append(self._prompts.popleft())
                break
            budget -= taken
            if prompt.next_part() is not None:
                break
            batch.prompts.append(self._prompts.popleft())
        batch.others_wait = bool(self._prompts) or len(batch.branches) < len(self._running)
        return batch

    def drop(self, problem: str) -> list[Branch | PendingPrompt]:
        """Forget all that is queued or running for a problem, and return it."""
        dropped: list[Branch | PendingPrompt] = [p for p in self._prompts if p.request.problem == problem]
        dropped += [b for b in (*self._waiting, *self._running) if b.problem == problem and not b.done]
        self._prompts = deque(prompt for prompt in self._prompts if prompt.request.problem != problem)
        self._waiting = deque(branch for branch in self._waiting if branch.problem != problem)
        self._running = [branch for branch in self._running if branch.problem != problem]
        return dropped

    def _take_prompt(self, prompt: PendingPrompt, memory: StepMemory, batch: StepBatch, budget: int) -> int | None:
        """Enter what the budget allows of a prompt and its texts into the step.

        Returns how many tokens; None when some did not fit into the pool.
        """
        num_taken = 0
        while (part := prompt.next_part()) is not None and num_taken < budget:
            limit = budget - num_taken
            if isinstance(part, GivenText):
                limit = min(limit, MAX_GIVEN_TOKENS - batch.num_given)
                if limit <= 0:
                    break
            rebuilt_before = batch.num_rebuilt
            taken = self._take(part.node, memory, batch, limit)
            if taken is None:
                return None
            num_taken += taken
            batch.num_prefilled += taken - (batch.num_rebuilt - rebuilt_before)
            if isinstance(part, GivenText):
                batch.num_given += taken
            if part.node.num_pending:
                break
            batch.ends += prompt.mark_ready()
        return num_taken

    def _take(self, node: Node, memory: StepMemory, batch: StepBatch, budget: int) -> int | None:
        """Enter up to `budget` (at least one) of the tokens that `node`'s path lacks into the step, from the top.

        Returns how many; None when they do not fit into the pool.
        """
        path = memory.incomplete_path(node)
        counts: dict[Node, int] = {}
        left = max(budget, 1)
        for part in path:
            if left and (pending := part.num_pending):
                counts[part] = min(pending, left)
                left -= counts[part]
        num_rebuilt = memory.reserve(path, counts)
        if num_rebuilt is None:
            return None
        for part, count in counts.items():
            batch.tokens[part] = batch.tokens.get(part, 0) + count
        batch.num_rebuilt += num_rebuilt
        return sum(counts.values())
