"""The handle that a search gets: one problem's thoughts, and the primitives over them (core.Tree).

A search is a coroutine; where it waits it yields an `Ask`, which names what must be decoded or scored before the
runner resumes it. Nothing here knows of tensors or threads.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from treereason import events
from treereason.controller.asking import Ask, BudgetSpent, Calls, gather, primitive
from treereason.controller.budget import Budget, Grant
from treereason.controller.own_scorers import name_of, verdicts
from treereason.core import (
    Cost,
    Decoded,
    Expansion,
    Finish,
    Problem,
    Prompt,
    Resumption,
    Sampling,
    Score,
    Scorer,
    Status,
    Task,
    Thought,
    ThoughtPath,
    Writing,
)
from treereason.text import describe, shown

BROKEN = (Exception, SystemExit, CancelledError, GeneratorExit)
"""What tasks and searches may raise to the harm of one problem alone; Ctrl-C is meant for the run."""


class SearchTree:
    """One problem's thought graph; implements `core.Tree`.

    drop_kv: gives a thought's KV back to the engine. scorer: name of the run's scorer. inline_scorer: the run's scorer
    where it runs beside the search and not in a process of its own.
    """

    def __init__(
        self,
        problem: Problem,
        task: Task,
        *,
        style: str,
        sampling: Sampling,
        drop_kv: Callable[[ThoughtPath], None],
        emit: events.Sink,
        seed: int = 0,
        scorer: str = "",
        inline_scorer: Scorer | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.root = Thought(problem, status=Status.KEPT)
        self.thoughts: list[Thought] = []
        self.cost = Cost()
        self.calls = Calls()
        self.task = task
        self.style = style
        self.rng = Random(f"{seed}/{problem.id}".encode("utf-8", "surrogatepass"))
        self.guided_by: set[str] = set()
        self._sampling = sampling
        self._drop_kv = drop_kv
        self._emit = emit
        self._scorer = scorer
        self._inline_scorer = inline_scorer
        self._budget = budget or Budget()
        self._decoding: dict[ThoughtPath, tuple[Thought, Grant | None]] = {}
        self._asked: dict[Thought, tuple[Prompt, Sampling]] = {}
        self._probes: set[Thought] = set()
        self._samples: set[Thought] = set()
        self._scores: dict[Thought, Score] = {}
        self._by_run: dict[Thought, Score] = {}
        self._spent = False

    @property
    def tokens_left(self) -> int | None:
        return self._budget.tokens_left

    def unfinished(self, thought: Thought) -> bool:
        if thought.status is Status.FAILED or thought.answer is not None:
            return False
        prompt = self.task.prompt(thought, self.style)
        return prompt is not None and prompt.appended

    @primitive
    async def expand(
        self,
        thoughts: Sequence[Thought],
        k: int | Sequence[int] = 1,
        *,
        prompt: Prompt | None = None,
        sampling: Sampling | None = None,
        tokens: int | None = None,
        part: bool = False,
    ) -> list[Thought]:
        ask, wanted = Ask(), False
        found: list[Thought] = []
        for thought, count in zip(thoughts, _counts(k, len(thoughts)), strict=True):
            failed = thought.status is Status.FAILED
            put = None if failed else prompt or self.task.prompt(thought, self.style)
            if put is None:
                found.append(thought)
            elif count:
                wanted = True
                put = put if tokens is None else replace(put, max_tokens=min(put.max_tokens, tokens))
                found += self._plan_children((thought,), put, count, ask, sampling=sampling, part=part)
        self._spend(ask, wanted=wanted)
        await ask
        return found

    @primitive
    async def resume(self, thoughts: Sequence[Thought], tokens: int) -> list[Thought]:
        if tokens < 1:
            raise ValueError(f"resume: tokens={tokens}: give a whole number above 0")
        ask = Ask()
        open_ended = [t for t in thoughts if t.finish is Finish.LENGTH and t.status is not Status.FAILED]
        for thought in open_ended:
            prompt, sampling = self._asked[thought]
            granted, grants = self._budget.grant(replace(prompt, max_tokens=tokens), 1)
            for grant in grants:
                self._decoding[thought.path] = thought, grant
                self._forget_score(thought)
                thought.answer = None
                thought.status = Status.DECODING
                ask.requests.append(Resumption(thought.problem.id, thought.path, granted, sampling))
        self._spend(ask, wanted=bool(open_ended))
        await ask
        return list(thoughts)

    @primitive
    async def write(
        self, thought: Thought, texts: Sequence[str], prompt: Prompt | None = None, *, part: bool = False
    ) -> list[Thought]:
        ask = Ask()
        put = prompt or self.task.prompt(thought, self.style) or Prompt("", appended=True)
        children = []
        if texts and not self._budget.out_of_time:
            children = self._create((thought,), put, [None] * len(texts), part=part)
            paths = tuple(child.path for child in children)
            ask.requests.append(Writing(thought.problem.id, thought.path, put, paths, tuple(texts)))
        self._spend(ask, wanted=bool(texts))
        await ask
        return children

    @primitive
    async def join(
        self, parents: Sequence[Thought], prompt: Prompt, k: int = 1, *, part: bool = False, **data: Any
    ) -> list[Thought]:
        if not parents:
            raise ValueError("a join needs at least one parent")
        ask = Ask()
        children = self._plan_children(tuple(parents), replace(prompt, appended=False), k, ask, part=part, data=data)
        self._spend(ask, wanted=k > 0)
        await ask
        return children

    @primitive
    async def probe(self, thought: Thought, prompt: Prompt) -> str:
        ask = Ask()
        children = self._plan_children((thought,), prompt, 1, ask, probe=True)
        self._spend(ask, wanted=True)
        await ask
        for child in children:
            self.thoughts.remove(child)
            self._drop_kv(child.path)
        return children[0].text if children else ""

    @primitive
    async def score(self, thoughts: Sequence[Thought], by: Scorer | None = None) -> None:
        whole = [thought for thought in thoughts if thought.status is not Status.FAILED]
        if by is None:
            unscored = [thought for thought in whole if thought.score is None]
            if unscored:
                self.guided_by.add(self._scorer)
            await self._score(unscored)
            return
        name = name_of(by)
        if whole:
            self.guided_by.add(name)
        for thought, verdict in zip(whole, await verdicts(by, whole, self), strict=True):
            self._take_verdict(thought, verdict, name)

    def keep(self, thoughts: Sequence[Thought], b: int) -> list[Thought]:
        self._notice_scores(thoughts)
        scored = [thought for thought in dict.fromkeys(thoughts) if thought.status is not Status.FAILED]
        if unscored := next((thought for thought in scored if thought.score is None), None):
            raise ValueError(f"keep ranks by score, and {unscored!r} has none: await tree.score(thoughts) before")
        kept = sorted(scored, key=_rank)[:b]
        for thought in thoughts:
            if thought not in kept:
                self._prune(thought)
        for thought in kept:
            if thought.status is not Status.KEPT:
                thought.status = Status.KEPT
                self._emit(events.ThoughtKept(thought.problem.id, thought.path))
        return kept

    def drop(self, thoughts: Iterable[Thought]) -> None:
        for thought in thoughts:
            if thought.status is Status.DECODED:
                self._prune(thought)
            elif thought.depth and thought.status is not Status.DECODING:
                self._drop_kv(thought.path)

    @primitive
    async def gather(self, *coroutines: Awaitable[Any]) -> list[Any]:
        await Ask()
        return await gather(coroutines)

    def best(self) -> Thought | None:
        self._notice_scores(self.thoughts)
        answered = [t for t in self.thoughts if t.answer is not None and t.score is not None and not t.part]
        return min(answered, key=_rank, default=None)

    async def evaluate(self, answer: Thought | None) -> None:
        """Score for the record, by the run's scorer, what it has not scored: the answer and the single samples."""
        self._notice_scores(self.thoughts)
        thoughts = dict.fromkeys([*([answer] if answer is not None else []), *self.single_samples()])
        wanted = [t for t in thoughts if t not in self._by_run and t.status is not Status.FAILED]
        if wanted:
            await self._score(wanted)

    def evaluation(self, thought: Thought) -> Score | None:
        """What the run's scorer says of a thought, whatever the search itself scored it."""
        return self._by_run.get(thought)

    def single_samples(self) -> list[Thought]:
        """Whole answers sampled from the root before the search had seen any score, so that none was selected."""
        return [
            thought
            for thought in self.thoughts
            if thought in self._samples
            and (thought.status not in (Status.FAILED, Status.DECODING) or thought in self._by_run)
            and not self.unfinished(thought)
        ]

    def tokens_wasted(self, answer: Thought | None) -> int:
        """Decoded tokens of thoughts that the answer does not rest on, probes included."""
        rests_on: set[Thought] = set()
        reached = [answer] if answer is not None else []
        while reached:
            thought = reached.pop()
            if thought not in rests_on:
                rests_on.add(thought)
                reached += thought.parents
        return self.cost.tokens_decoded - sum(thought.cost.tokens_decoded for thought in rests_on)

    def take_decoded(self, decoded: Decoded) -> None:
        """Enter what the engine decoded for one child. Called by the runner before it resumes the search."""
        thought, grant = self._decoding.pop(decoded.path)
        if grant is not None:
            self._budget.settle(grant, decoded.cost.tokens_decoded)
        thought.text, thought.logprob = decoded.text, decoded.logprob
        thought.finish, thought.stop = decoded.finish, decoded.stop
        thought.cost.add(decoded.cost)
        self.cost.add(decoded.cost)
        if decoded.error is not None:
            self._fail(thought, decoded.error)
            return
        thought.status = Status.DECODED
        try:
            if thought not in self._probes and not thought.part:
                thought.answer = self.task.parse(thought)
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
                tokens_prefilled=decoded.cost.tokens_prefilled,
                tokens_decoded=decoded.cost.tokens_decoded,
                tokens_reused=decoded.cost.tokens_reused,
                kv_token_steps=decoded.cost.kv_token_steps,
                seconds=decoded.cost.seconds,
                finish=decoded.finish or "",
            )
        )

    def take_score(self, thought: Thought, verdict: Score | str) -> None:
        """Enter the verdict of the run's scorer; a text is the message of a scorer that broke."""
        if isinstance(verdict, Score):
            self._by_run[thought] = verdict
        if thought.score is None or isinstance(verdict, str):
            self._take_verdict(thought, verdict, self._scorer)

    async def _score(self, thoughts: Sequence[Thought]) -> None:
        if self._inline_scorer is None:
            await Ask(thoughts=list(thoughts))
            return
        for thought, verdict in zip(thoughts, await verdicts(self._inline_scorer, thoughts, self), strict=True):
            self.take_score(thought, verdict)

    def _take_verdict(self, thought: Thought, verdict: Score | str, by: str) -> None:
        if isinstance(verdict, str):
            self._fail(thought, f"scorer: {verdict}")
            return
        thought.score = self._scores[thought] = verdict
        self._emit(events.ThoughtScored(thought.problem.id, thought.path, verdict.value, verdict.final, by))

    def _notice_scores(self, thoughts: Iterable[Thought]) -> None:
        """Make known the scores that a search has set by hand."""
        for thought in thoughts:
            score = thought.score
            if score is None or score is self._scores.get(thought):
                continue
            if not isinstance(score, Score):
                thought.score = score = Score(score)
            if not isinstance(score.value, (int, float)):
                raise ValueError(f"{thought!r} has the score {shown(score.value)}: give a number or a Score")
            self.guided_by.add("search")
            self._scores[thought] = score
            self._emit(events.ThoughtScored(thought.problem.id, thought.path, score.value, score.final, "search"))

    def _forget_score(self, thought: Thought) -> None:
        thought.score = None
        self._scores.pop(thought, None)
        self._by_run.pop(thought, None)

    def _plan_children(
        self,
        parents: tuple[Thought, ...],
        prompt: Prompt,
        k: int,
        ask: Ask,
        *,
        sampling: Sampling | None = None,
        probe: bool = False,
        part: bool = False,
        data: dict[str, Any] | None = None,
    ) -> list[Thought]:
        """As many of k children as the budget pays for, entered into what the search asks for."""
        prompt, grants = self._budget.grant(prompt, k)
        sampling = sampling or self._sampling
        children = self._create(parents, prompt, grants, probe=probe, part=part, data=data)
        plain = not (probe or part or len(parents) > 1 or self._scores)
        for child in children:
            self._asked[child] = prompt, sampling
            if plain and (parents[0] is self.root or parents[0] in self._samples):
                self._samples.add(child)
        if children:
            paths = tuple(child.path for child in children)
            ask.requests.append(Expansion(child.problem.id, parents[0].path, prompt, paths, sampling))
        return children

    def _create(
        self,
        parents: tuple[Thought, ...],
        prompt: Prompt,
        grants: Sequence[Grant | None],
        *,
        probe: bool = False,
        part: bool = False,
        data: dict[str, Any] | None = None,
    ) -> list[Thought]:
        first = parents[0]
        above = tuple(parent.path for parent in parents)
        children = []
        for grant in grants:
            child = Thought(
                first.problem,
                (*first.path, first.num_children),
                parents,
                prompt=prompt.text if prompt.appended else prompt.plain,
                appended=prompt.appended,
                part=part,
                data=dict(data or {}),
            )
            first.num_children += 1
            children.append(child)
            self.thoughts.append(child)
            self._decoding[child.path] = child, grant
            if probe:
                self._probes.add(child)
            self._emit(events.ThoughtCreated(first.problem.id, child.path, above, probe))
        return children

    def _spend(self, ask: Ask, *, wanted: bool) -> None:
        """End a search that asks a second time in a row for what its budget does not pay for."""
        if wanted and not ask.requests and self._spent:
            raise BudgetSpent
        if wanted:
            self._spent = not ask.requests

    def _prune(self, thought: Thought) -> None:
        self._drop_kv(thought.path)
        if thought.status is not Status.FAILED:
            thought.status = Status.PRUNED
            self._emit(events.ThoughtPruned(thought.problem.id, thought.path))

    def _fail(self, thought: Thought, error: str) -> None:
        thought.status, thought.error = Status.FAILED, error
        self._emit(events.ThoughtFailed(thought.problem.id, thought.path, error))


def _counts(k: int | Sequence[int], num_thoughts: int) -> list[int]:
    counts = [k] * num_thoughts if isinstance(k, int) else list(k)
    if len(counts) != num_thoughts:
        raise ValueError(f"expand: {len(counts)} numbers in k for {num_thoughts} thoughts: give one per thought")
    if any(type(count) is not int or count < 0 for count in counts):
        raise ValueError(f"expand: k={shown(k)}: give whole numbers of 0 or more")
    return counts


def _rank(thought: Thought) -> tuple[float, ThoughtPath]:
    """Sort key: highest score first, then the earliest path."""
    assert thought.score is not None
    return -thought.score.value, thought.path
