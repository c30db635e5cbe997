"""The five primitives over one problem's thoughts: expand, score, keep, join, probe.

A search is a coroutine; where it waits it yields a `Wait`, which names what must be decoded or scored before the
runner may resume it. Nothing here knows of tensors or threads.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace

from treereason import events
from treereason.controller.budget import Budget, Grant
from treereason.core import Cost, Decoded, Expansion, Problem, Prompt, Sampling, Score, Status, Task, Thought
from treereason.text import describe

ThoughtPath = tuple[int, ...]
BROKEN = (Exception, SystemExit, CancelledError, GeneratorExit)
"""What tasks and searches may raise to the harm of one problem alone; Ctrl-C is meant for the run."""


@dataclass(eq=False)
class Wait:
    """What a coroutine waits for: expansions to be decoded and thoughts to be scored."""

    expansions: list[Expansion] = field(default_factory=list)
    thoughts: list[Thought] = field(default_factory=list)

    def __await__(self) -> Generator[Wait, None, None]:
        yield self


class SearchTree:
    """One problem's thought graph; implements `core.Tree`. `release` returns a thought's KV to the engine."""

    def __init__(
        self,
        problem: Problem,
        task: Task,
        *,
        style: str,
        sampling: Sampling,
        release: Callable[[ThoughtPath], None],
        emit: events.Sink,
        budget: Budget | None = None,
    ) -> None:
        self.root = Thought(problem, status=Status.KEPT)
        self.thoughts: list[Thought] = []
        self.cost = Cost()
        self._task = task
        self._style = style
        self._sampling = sampling
        self._release = release
        self._emit = emit
        self._budget = budget or Budget()
        self._decoding: dict[ThoughtPath, tuple[Thought, Grant]] = {}
        self._kept: list[Thought] = []

    def unfinished(self, thought: Thought) -> bool:
        if thought.status is Status.FAILED or thought.answer is not None:
            return False
        prompt = self._task.prompt(thought, self._style)
        return prompt is not None and prompt.appended

    async def expand(self, thoughts: Sequence[Thought], k: int) -> list[Thought]:
        wait = Wait()
        found: list[Thought] = []
        for thought in thoughts:
            failed = thought.status is Status.FAILED
            prompt = None if failed else self._task.prompt(thought, self._style)
            if prompt is None:
                found.append(thought)
                continue
            found += self._plan_children((thought,), prompt, k, wait)
        if wait.expansions:
            await wait
        return found

    async def score(self, thoughts: Sequence[Thought]) -> None:
        unscored = [t for t in thoughts if t.score is None and t.status is not Status.FAILED]
        if unscored:
            await Wait(thoughts=unscored)

    def keep(self, thoughts: Sequence[Thought], b: int) -> list[Thought]:
        scored = [t for t in thoughts if t.score is not None and t.status is not Status.FAILED]
        kept = sorted(scored, key=_rank)[:b]
        for thought in thoughts:
            if thought not in kept:
                self._prune(thought)
        for thought in self._kept:
            if thought not in kept:  # its children hold the tokens that they stand on
                self._release(thought.path)
        for thought in kept:
            if thought.status is not Status.KEPT:
                thought.status = Status.KEPT
                self._emit(events.ThoughtKept(thought.problem.id, thought.path))
        self._kept = kept
        return kept

    async def join(self, parents: Sequence[Thought], prompt: Prompt, k: int = 1) -> list[Thought]:
        if not parents:
            raise ValueError("a join needs at least one parent")
        wait = Wait()
        children = self._plan_children(tuple(parents), replace(prompt, appended=False), k, wait)
        if children:
            await wait
        return children

    async def probe(self, thought: Thought, prompt: Prompt) -> str:
        wait = Wait()
        children = self._plan_children((thought,), prompt, 1, wait, probe=True)
        if not children:
            return ""
        await wait
        [child] = children
        self.thoughts.remove(child)
        self._release(child.path)
        return child.text

    def single_samples(self) -> list[Thought]:
        """The scored whole answers that were sampled straight from the root."""
        return [t for t in self.thoughts if t.depth == 1 and t.score is not None and not self.unfinished(t)]

    def tokens_wasted(self, answer: Thought | None) -> int:
        """Decoded tokens of thoughts that the answer does not stand on, probes included."""
        stands_on: set[Thought] = set()
        reached = [answer] if answer is not None else []
        while reached:
            thought = reached.pop()
            if thought not in stands_on:
                stands_on.add(thought)
                reached += thought.parents
        return self.cost.tokens_decoded - sum(thought.cost.tokens_decoded for thought in stands_on)

    def best(self) -> Thought | None:
        answered = [t for t in self.thoughts if t.answer is not None and t.score is not None]
        return min(answered, key=_rank, default=None)

    def take_decoded(self, decoded: Decoded) -> None:
        """Enter what the engine decoded for one child. Called by the runner before it resumes the search."""
        thought, grant = self._decoding.pop(decoded.path)
        self._budget.settle(grant, decoded.cost.tokens_decoded)
        thought.text, thought.logprob, thought.cost = decoded.text, decoded.logprob, decoded.cost
        self.cost.add(decoded.cost)
        if decoded.error is not None:
            self._fail(thought, decoded.error)
            return
        thought.status = Status.DECODED
        try:
            thought.answer = self._task.parse(thought)
        except BROKEN as error:
            self._fail(thought, f"parse: {describe(error)}")
            return
        self._emit(
            events.ThoughtDecoded(
                problem=thought.problem.id,
                thought=thought.path,
                text=thought.text,
                answer=thought.answer,
                logprob=thought.logprob,
                tokens_prefilled=thought.cost.tokens_prefilled,
                tokens_decoded=thought.cost.tokens_decoded,
                tokens_reused=thought.cost.tokens_reused,
                kv_token_steps=thought.cost.kv_token_steps,
                seconds=thought.cost.seconds,
            )
        )

    def take_score(self, thought: Thought, verdict: Score | str) -> None:
        """Enter a scorer's verdict; a text is the message of a scorer that broke."""
        if isinstance(verdict, str):
            self._fail(thought, f"scorer: {verdict}")
            return
        thought.score = verdict
        self._emit(events.ThoughtScored(thought.problem.id, thought.path, verdict.value, verdict.final))

    def _plan_children(
        self, parents: tuple[Thought, ...], prompt: Prompt, k: int, wait: Wait, *, probe: bool = False
    ) -> list[Thought]:
        """As many of k children as the budget pays for, entered into what the search waits for."""
        prompt, grants = self._budget.grant(prompt, k)
        first = parents[0]
        children = []
        for grant in grants:
            child = Thought(first.problem, (*first.path, first.num_children), parents)
            first.num_children += 1
            children.append(child)
            self.thoughts.append(child)
            self._decoding[child.path] = child, grant
            above = tuple(parent.path for parent in parents)
            self._emit(events.ThoughtCreated(first.problem.id, child.path, above, probe))
        if children:
            paths = tuple(child.path for child in children)
            wait.expansions.append(Expansion(first.problem.id, first.path, prompt, paths, self._sampling))
        return children

    def _prune(self, thought: Thought) -> None:
        self._release(thought.path)
        if thought.status is not Status.FAILED:
            thought.status = Status.PRUNED
            self._emit(events.ThoughtPruned(thought.problem.id, thought.path))

    def _fail(self, thought: Thought, error: str) -> None:
        thought.status, thought.error = Status.FAILED, error
        self._emit(events.ThoughtFailed(thought.problem.id, thought.path, error))


def _rank(thought: Thought) -> tuple[float, ThoughtPath]:
    """Sort key: highest score first, then the earliest path."""
    assert thought.score is not None
    return -thought.score.value, thought.path
