"""Who computes in the next step: all running branches, one token each, and prompts up to a token budget."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from treereason.core import Expansion
from treereason.engine.branch import Branch
from treereason.engine.forest import Forest, Node
from treereason.engine.pages import PoolFull


@dataclass(eq=False)
class PromptJob:
    """A prompt whose last token's logits start the children of `expansion`. It holds `node`."""

    expansion: Expansion
    node: Node
    num_prefilled: int = 0


@dataclass
class Work:
    """One step: how many tokens of each node to compute, who decodes, which prompts are complete, who found no room."""

    tokens: dict[Node, int] = field(default_factory=dict)
    branches: list[Branch] = field(default_factory=list)
    prompts: list[PromptJob] = field(default_factory=list)
    num_prefilled: int = 0
    no_room: list[tuple[Branch | PromptJob, PoolFull]] = field(default_factory=list)


class Scheduler:
    """First come, first served. At most `max_branches` decode in a step, at most `prefill_tokens` are prefilled."""

    def __init__(self, max_branches: int, prefill_tokens: int) -> None:
        self._max_branches = max_branches
        self._prefill_tokens = prefill_tokens
        self._prompts: deque[PromptJob] = deque()
        self._waiting: deque[Branch] = deque()
        self._running: list[Branch] = []

    @property
    def busy(self) -> bool:
        return bool(self._prompts or self._waiting or self._running)

    @property
    def num_running(self) -> int:
        return len(self._running)

    @property
    def num_waiting(self) -> int:
        return len(self._waiting) + sum(len(job.expansion.children) for job in self._prompts)

    def add_prompt(self, job: PromptJob) -> None:
        self._prompts.append(job)

    def add_branch(self, branch: Branch) -> None:
        self._waiting.append(branch)

    def pick(self, forest: Forest) -> Work:
        """Choose the step's work and make room for its KV; a node's tokens count as stored from here on."""
        work = Work()
        self._running = [branch for branch in self._running if not branch.done]
        while self._waiting and len(self._running) < self._max_branches:
            self._running.append(self._waiting.popleft())
        for branch in self._running:
            try:
                forest.compute(branch.node, 1)
            except PoolFull as error:
                work.no_room.append((branch, error))
            else:
                work.tokens[branch.node] = 1
                work.branches.append(branch)
        self._pick_prompts(forest, work)
        return work

    def drop(self, problem: str) -> list[Branch | PromptJob]:
        """Forget all that is queued or running for a problem, and return it."""
        dropped: list[Branch | PromptJob] = [job for job in self._prompts if job.expansion.problem == problem]
        dropped += [b for b in (*self._waiting, *self._running) if b.problem == problem and not b.done]
        self._prompts = deque(job for job in self._prompts if job.expansion.problem != problem)
        self._waiting = deque(branch for branch in self._waiting if branch.problem != problem)
        self._running = [branch for branch in self._running if branch.problem != problem]
        return dropped

    def _pick_prompts(self, forest: Forest, work: Work) -> None:
        budget = self._prefill_tokens
        while self._prompts and budget:
            job = self._prompts[0]
            for node in job.node.path():
                count = min(node.num_pending, budget)
                if not count:
                    continue
                try:
                    forest.compute(node, count)
                except PoolFull as error:
                    if not work.branches:  # nobody is going to return pages
                        self._prompts.popleft()
                        work.no_room.append((job, error))
                    return
                work.tokens[node] = work.tokens.get(node, 0) + count
                job.num_prefilled += count
                work.num_prefilled += count
                budget -= count
                if node.num_pending:
                    return
            work.prompts.append(self._prompts.popleft())
