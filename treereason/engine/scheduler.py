"""Who computes in the next step: all running branches, one token each, and prompts up to a token budget."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from treereason.core import Request
from treereason.engine.branch import Branch
from treereason.engine.given_text import GivenText, GivenTokens
from treereason.engine.kv.eviction import StepMemory
from treereason.engine.kv.forest import Forest, Node

MAX_GIVEN_TOKENS = 256
"""Tokens of given texts in a step: each wants a row of logits, so that memory for them has a bound."""


@dataclass(eq=False)
class PendingPrompt:
    """A prompt to compute for a request; it holds `node`, which ends with the prompt.

    What follows: new branches (an Expansion), `texts`, each with a node of its own (a Writing), or `resumed`, whose
    node is this one (a Resumption).
    """

    request: Request
    node: Node
    texts: list[GivenText] = field(default_factory=list)
    resumed: Branch | None = None
    num_prefilled: int = 0
    ready: bool = False

    @property
    def nodes(self) -> list[Node]:
        """Every node that it holds, one entry per hold."""
        return [self.node, *(text.node for text in self.texts)]

    def mark_ready(self) -> list[Node]:
        """Note that the prompt is computed, and every text that is; returns their nodes, of this time only."""
        self.ready = True
        ready = [text for text in self.texts if not text.ready and not any(node.num_pending for node in text.parts())]
        for text in ready:
            text.ready = True
        return [text.node for text in ready] if self.texts else [self.node]

    def next_part(self) -> PendingPrompt | GivenText | None:
        """What to compute next: the prompt itself, then one text after another; None when all is ready."""
        return next((text for text in self.texts if not text.ready), None) if self.ready else self


@dataclass
class StepBatch:
    """One step. tokens: how many tokens of each node to compute. branches, prompts: whose last token is among them.

    given: tokens of given texts whose log-probabilities are wanted. num_given: tokens computed for them.
    ends: the nodes of branches, prompts and texts that are computed up to their end.
    num_prefilled counts prompt tokens computed for the first time, num_rebuilt any tokens computed again after an
    eviction. too_large: who would not fit into the pool alone.
    """

    tokens: dict[Node, int] = field(default_factory=dict)
    branches: list[Branch] = field(default_factory=list)
    prompts: list[PendingPrompt] = field(default_factory=list)
    given: list[GivenTokens] = field(default_factory=list)
    ends: list[Node] = field(default_factory=list)
    num_given: int = 0
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
        return bool(self._prompts or self._waiting or any(not branch.done for branch in self._running))

    @property
    def num_waiting(self) -> int:
        """Children that do not decode yet."""
        return len(self._waiting) + sum(len(prompt.request.children) for prompt in self._prompts)

    def add_prompt(self, prompt: PendingPrompt) -> None:
        self._prompts.append(prompt)

    def add_branch(self, branch: Branch) -> None:
        self._waiting.append(branch)

    def pick(self, forest: Forest, step: int) -> StepBatch:
        """Choose the step's work and make room for its KV; its tokens count as stored from here on."""
        batch = StepBatch()
        self._running = [branch for branch in self._running if not branch.done]
        while self._waiting and len(self._running) < self._max_branches:
            self._running.append(self._waiting.popleft())
        memory = StepMemory(forest, [branch.node for branch in self._running], step)
        budget = self._prefill_tokens
        crowded = False
        for branch in self._running:
            if memory.take_next(branch.node):
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
        while self._prompts and budget > 0 and not crowded:
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

        Returns how many tokens; None when there was no room for all of them.
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
            num_new = taken - (batch.num_rebuilt - rebuilt_before)
            part.num_prefilled += num_new
            batch.num_prefilled += num_new
            if isinstance(part, GivenText):
                batch.num_given += taken
            if part.node.num_pending:
                break
            batch.ends += prompt.mark_ready()
        return num_taken

    def _take(self, node: Node, memory: StepMemory, batch: StepBatch, budget: int) -> int | None:
        """Enter up to `budget` (at least one) of the tokens that `node`'s path lacks into the step, from the top.

        Returns how many; None when there is no room for them.
        """
        path = memory.rest_of_path(node)
        counts: dict[Node, int] = {}
        left = max(budget, 1)
        for part in path:
            if left and (pending := part.num_pending):
                counts[part] = min(pending, left)
                left -= counts[part]
        num_rebuilt = memory.take(path, counts)
        if num_rebuilt is None:
            return None
        for part, count in counts.items():
            batch.tokens[part] = batch.tokens.get(part, 0) + count
        batch.num_rebuilt += num_rebuilt
        return sum(counts.values())
