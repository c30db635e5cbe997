"""Drafts from a small model, which decodes ahead over a forest of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from treereason.engine.kv.cache import KVCache
from treereason.engine.kv.forest import RUN, Forest, Node
from treereason.engine.kv.pages import PagePool
from treereason.engine.kv.step_memory import StepMemory
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.schedule.branch import Branch
from treereason.engine.schedule.draft import Draft
from treereason.engine.schedule.step_batch import StepBatch
from treereason.engine.steps.eager_steps import EagerSteps

OTHER_NOISE = 0x5DEECE66D


@dataclass(eq=False)
class _Shadow:
    """What stands for a branch here. draws: a branch that draws as it does, over this forest's node.

    The node's tokens are those of the branch's node, then `num_lent` that were proposed last.
    """

    draws: Branch
    num_lent: int = 0


class ModelDrafts:
    """Decodes `depth` tokens ahead of each branch, with the noise that the branch itself will be drawn with: two models
    that are alike then draw the same token more often than by chance of their own (Daliri et al. 2024).

    Its forest has the same tree as the engine's: nodes are forked, and released when the engine's are gone.
    prefill_tokens: tokens that it computes in a call beside those that it proposes. shared_noise: False for comparison.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        depth: int,
        kv_tokens: int,
        page_size: int,
        prefill_tokens: int = 2048,
        shared_noise: bool = True,
    ) -> None:
        num_pages = max(1, kv_tokens // page_size)
        self.forest = Forest(PagePool(num_pages), page_size)
        cache = KVCache(num_pages, page_size)
        self._steps = EagerSteps(model, self.forest, cache, attention=model.attention)
        self._max_positions = model.max_positions
        self._depth = depth
        self._prefill_tokens = prefill_tokens
        self._noise = 0 if shared_noise else OTHER_NOISE
        self._shadows: dict[Branch, _Shadow] = {}
        self._mirrored: dict[Node, Node] = {}
        self._num_steps = 0

    def propose(self, branches: Sequence[Branch]) -> list[Draft]:
        """As in Drafter."""
        self._settle()
        shadows = [self._shadow(branch) for branch in branches]
        running = self._catch_up(shadows)
        drafts: dict[_Shadow, list[int]] = {shadow: [] for shadow in shadows}
        for depth in range(self._depth):
            if not running:
                break
            drawn = self._steps.finish([shadow.draws for shadow in running])
            for shadow, token in zip(running, drawn.tokens, strict=True):
                drafts[shadow].append(token)
            if depth + 1 < self._depth:
                running = self._go_on(running, drafts)
        return [Draft.chain(drafts[shadow]) for shadow in shadows]

    def forget(self, problem: str) -> None:
        """As in Drafter."""
        self._settle()
        for branch in [branch for branch in self._shadows if branch.problem == problem]:
            self._drop(branch)
        for node in [node for node in self._mirrored if node.owner == problem]:
            self.forest.release(self._mirrored.pop(node))
        self.forest.forget(problem)

    def _settle(self) -> None:
        """Take back what was proposed, keep the KV of what was right, and release what the engine has released."""
        for branch, shadow in list(self._shadows.items()):
            self._follow(branch, shadow)
            if branch.done:
                node = shadow.draws.node
                node.growing = False
                self._shadows.pop(branch)
                self._mirrored[branch.node] = node
        for node in [node for node in self._mirrored if not node.num_references and not node.children]:
            self.forest.release(self._mirrored.pop(node))

    def _follow(self, branch: Branch, shadow: _Shadow) -> None:
        node, tokens = shadow.draws.node, branch.node.tokens
        num_own = len(node.tokens) - shadow.num_lent
        num_right = num_own
        while num_right < min(len(tokens), node.num_cached) and node.tokens[num_right] == tokens[num_right]:
            num_right += 1
        if shadow.num_lent:
            del node.tokens[num_own:]
            node.num_cached, shadow.num_lent = num_own, 0
            node.tokens += tokens[num_own:]
            self.forest.compute(node, num_right - num_own)
            self.forest.trim(node)
        else:
            node.tokens += tokens[num_own:]

    def _shadow(self, branch: Branch) -> _Shadow:
        if branch not in self._shadows:
            assert branch.node.parent is not None
            node = self.forest.fork(self._mirror(branch.node.parent), branch.problem)
            node.tokens = list(branch.node.tokens)
            self._shadows[branch] = _Shadow(replace(branch, node=node, key=branch.key ^ self._noise, tokens=[]))
        return self._shadows[branch]

    def _mirror(self, node: Node) -> Node:
        """The node that ends with the same tokens here."""
        known = self._mirrored.get(node)
        if known is not None and known.end == node.end:
            return known
        above: Node | None = node.parent
        while above is not None and above not in self._mirrored and not _ends_shared(above, node):
            above = above.parent
        below = self._mirror(above) if above is not None else None
        tokens = node.token_ids()[below.end if below is not None else 0 :]
        found = self._mirrored[node] = self.forest.attach(tokens, node.owner, below)
        if known is not None:  # a thought that was resumed
            self.forest.release(known)
        return found

    def _catch_up(self, shadows: list[_Shadow]) -> list[_Shadow]:
        """Compute what the shadows lack; those that have all of it now."""
        self._num_steps += 1
        memory = StepMemory(self.forest, [shadow.draws.node for shadow in shadows], self._num_steps)
        batch, left = StepBatch(self._num_steps), self._prefill_tokens
        for shadow in shadows:
            path = memory.incomplete_path(shadow.draws.node)
            counts = {node: node.num_pending for node in path if node.num_pending}
            if sum(counts.values()) > left or memory.reserve(path, counts) is None:
                continue
            left -= sum(counts.values())
            batch.tokens |= counts
            batch.branches.append(shadow.draws)
        return self._start(batch, shadows)

    def _go_on(self, running: list[_Shadow], drafts: dict[_Shadow, list[int]]) -> list[_Shadow]:
        """Compute the last token of each draft."""
        self._num_steps += 1
        batch = StepBatch(self._num_steps)
        for shadow in running:
            node = shadow.draws.node
            if self.forest.pages_lacking(node, 1) > self.forest.pool.num_free or node.end + 1 >= self._max_positions:
                continue
            self.forest.lend(node, drafts[shadow][-1:], 1)
            shadow.num_lent += 1
            batch.tokens[node] = 1
            batch.branches.append(shadow.draws)
        return self._start(batch, running)

    def _start(self, batch: StepBatch, shadows: list[_Shadow]) -> list[_Shadow]:
        if batch.tokens:
            self._steps.start(batch)
        computed = set(batch.branches)
        return [shadow for shadow in shadows if shadow.draws in computed]

    def _drop(self, branch: Branch) -> None:
        self.forest.release(self._shadows.pop(branch).draws.node)


def _ends_shared(above: Node, node: Node) -> bool:
    """Whether `above` ends what a node's path has of all problems' prefixes."""
    return above.parent is not None and above.owner is RUN and node.owner is not RUN
