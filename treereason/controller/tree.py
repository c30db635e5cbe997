"""The handle that a search gets: one problem's thoughts, and the primitives over them (core.Tree).

A search is a coroutine; where it waits it yields an `Ask`, which names what must be decoded or scored before the
runner resumes it. Nothing here knows of tensors or threads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from treereason import events
from treereason.controller.asking import Ask, Calls, gather, primitive
from treereason.controller.budget import Budget
from treereason.controller.growth import Growth
from treereason.controller.log_once import LogOnce
from treereason.controller.own_scorers import name_of, verdicts
from treereason.controller.scores import Scores
from treereason.core import (
    Basis,
    Cost,
    Decoded,
    Finish,
    Problem,
    Prompt,
    Sampling,
    Score,
    Scorer,
    Status,
    Task,
    Thought,
    ThoughtPath,
    basis_of,
)
from treereason.record.begun_problem import SCORER, BegunProblem
from treereason.text import shown


class SearchTree:
    """One problem's thought graph; implements `core.Tree`.

    drop_kv: gives a thought's KV back to the engine. kv_tokens: what thoughts hold of it together. scorer: name of the
    run's scorer. scorer_basis: what its verdicts rest on. inline_scorer: that scorer, where it runs beside the search
    and not in a process of its own. record: what was decoded and scored before, where the search runs once more.
    """

    def __init__(
        self,
        problem: Problem,
        task: Task,
        *,
        style: str,
        sampling: Sampling,
        drop_kv: Callable[[ThoughtPath], None],
        kv_tokens: Callable[[Sequence[ThoughtPath]], int],
        emit: events.Sink,
        seed: int = 0,
        scorer: str = "",
        scorer_basis: Basis = Basis.UNMARKED,
        inline_scorer: Scorer | None = None,
        budget: Budget | None = None,
        log_once: LogOnce | None = None,
        record: BegunProblem | None = None,
    ) -> None:
        self.root = Thought(problem, status=Status.KEPT)
        self.calls = Calls()
        self.task = task
        self.style = style
        self.rng = Random(f"{seed}/{problem.id}".encode("utf-8", "surrogatepass"))
        self.scores = Scores(emit)
        self.record = record or BegunProblem()
        self.growth = Growth(task, sampling, emit, budget or Budget(), self.scores, log_once or LogOnce(), self.record)
        self._merged: set[Thought] = set()
        self._drop_kv = drop_kv
        self._kv_tokens = kv_tokens
        self._emit = emit
        self._scorer = scorer
        self._scorer_basis = scorer_basis
        self._inline_scorer = inline_scorer

    @property
    def thoughts(self) -> list[Thought]:
        """All thoughts in the order in which they were made, without the root and probes that have ended."""
        return self.growth.thoughts

    @property
    def cost(self) -> Cost:
        return self.growth.cost

    @property
    def tokens_left(self) -> int | None:
        return self.growth.budget.tokens_left

    def unfinished(self, thought: Thought) -> bool:
        if thought.status is Status.FAILED or thought.answer is not None or self.growth.is_beginning(thought):
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
                found += self.growth.sample(ask, (thought,), put, count, sampling=sampling, tokens=tokens, part=part)
        self.growth.spend(ask, wanted=wanted)
        await ask
        return found

    @primitive
    async def resume(self, thoughts: Sequence[Thought], tokens: int) -> list[Thought]:
        if tokens < 1:
            raise ValueError(f"resume: tokens={tokens}: give a whole number above 0")
        ask = Ask()
        open_ended = [t for t in thoughts if t.finish is Finish.LENGTH and t.status is not Status.FAILED]
        for thought in open_ended:
            self.growth.resume(ask, thought, tokens)
        self.growth.spend(ask, wanted=bool(open_ended))
        await ask
        return list(thoughts)

    @primitive
    async def write(
        self, thought: Thought, texts: Sequence[str], prompt: Prompt | None = None, *, part: bool = False
    ) -> list[Thought]:
        ask = Ask()
        put = prompt or self.task.prompt(thought, self.style) or Prompt("", appended=True)
        children = self.growth.write(ask, thought, put, texts, part=part)
        self.growth.spend(ask, wanted=bool(texts))
        await ask
        return children

    @primitive
    async def join(
        self, parents: Sequence[Thought], prompt: Prompt, k: int = 1, *, part: bool = False, **data: Any
    ) -> list[Thought]:
        if not parents:
            raise ValueError("a join needs at least one parent")
        ask = Ask()
        put = replace(prompt, appended=False)
        children = self.growth.sample(ask, tuple(parents), put, k, part=part, data=data)
        self.growth.spend(ask, wanted=k > 0)
        await ask
        return children

    @primitive
    async def probe(self, thought: Thought, prompt: Prompt) -> str:
        ask = Ask()
        children = self.growth.sample(ask, (thought,), prompt, 1, probe=True)
        self.growth.spend(ask, wanted=True)
        await ask
        for child in children:
            self.thoughts.remove(child)
            self._drop_kv(child.path)
        return children[0].text if children else ""

    @primitive
    async def score(self, thoughts: Sequence[Thought], by: Scorer | None = None) -> None:
        whole = [thought for thought in thoughts if thought.status is not Status.FAILED]
        if all(thought.score is not None for thought in whole):
            self.growth.idle()
        if by is None:
            unscored = [thought for thought in whole if thought.score is None]
            if unscored:
                self.scores.guided_by.add((self._scorer, self._scorer_basis))
            await self._score(unscored)
            return
        name = name_of(by)
        if whole:
            self.scores.guided_by.add((name, basis_of(by)))
        for thought, verdict in zip(whole, await verdicts(by, whole, self, self.growth), strict=True):
            self._take_verdict(thought, self._recorded(thought, name, verdict), name)

    def keep(self, thoughts: Sequence[Thought], b: int) -> list[Thought]:
        if type(b) is not int or b < 0:
            raise ValueError(f"keep: b={shown(b)}: give a whole number of 0 or more")
        self.scores.notice(thoughts)
        scored = [thought for thought in dict.fromkeys(thoughts) if thought.status is not Status.FAILED]
        if unscored := next((thought for thought in scored if thought.score is None), None):
            raise ValueError(f"keep ranks by score, and {unscored!r} has none: await tree.score(thoughts) before")
        kept = sorted(self._merge_equal(scored), key=_rank)[:b]
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

    def kv_tokens(self, thoughts: Sequence[Thought]) -> int:
        return self._kv_tokens([thought.path for thought in thoughts])

    @primitive
    async def gather(self, *coroutines: Awaitable[Any]) -> list[Any]:
        await Ask()
        return await gather(coroutines)

    def best(self) -> Thought | None:
        self.scores.notice(self.thoughts)
        answered = [t for t in self.thoughts if t.answer is not None and t.score is not None and not t.part]
        return min(answered, key=_rank, default=None)

    async def evaluate(self, answer: Thought | None) -> None:
        """Score for the record, by the run's scorer, what it has not scored: the answer and the single samples."""
        self.scores.notice(self.thoughts)
        thoughts = dict.fromkeys([*([answer] if answer is not None else []), *self.single_samples()])
        wanted = [t for t in thoughts if self.scores.by_run(t) is None and t.status is not Status.FAILED]
        if wanted:
            await self._score(wanted)

    def take_decoded(self, decoded: Decoded) -> None:
        """Enter what the engine decoded for one child. Called by the runner before it resumes the search."""
        self.growth.take(decoded)

    def take_score(self, thought: Thought, verdict: Score | str) -> None:
        """Enter the verdict of the run's scorer; a text is the message of a scorer that broke."""
        if isinstance(verdict, Score):
            self.scores.enter_by_run(thought, verdict)
        if thought.score is None or isinstance(verdict, str):
            self._take_verdict(thought, verdict, self._scorer)
        else:
            told = thought.problem.id, thought.path, verdict.value, verdict.final, self._scorer
            self._emit(events.ThoughtEvaluated(*told))

    def recorded_verdict(self, thought: Thought) -> Score | str | None:
        """What the run's scorer said of the thought before, None when it has not been asked yet."""
        return self.record.verdict(thought.path, self._scorer)

    async def _score(self, thoughts: Sequence[Thought]) -> None:
        if self._inline_scorer is None:
            await Ask(thoughts=list(thoughts))
            return
        for thought, verdict in zip(
            thoughts, await verdicts(self._inline_scorer, thoughts, self, self.growth), strict=True
        ):
            self.take_score(thought, self._recorded(thought, self._scorer, verdict))

    def single_samples(self) -> list[Thought]:
        """Whole answers sampled from the root before the search had seen any score, so that none was selected."""
        return [
            thought
            for thought in self.growth.unselected
            if (thought.status not in (Status.FAILED, Status.DECODING) or self.scores.by_run(thought))
            and not self.unfinished(thought)
        ]

    def _take_verdict(self, thought: Thought, verdict: Score | str, by: str) -> None:
        if isinstance(verdict, str):
            self.growth.fail(thought, f"{SCORER}{verdict}", by=by)
        else:
            self.scores.enter(thought, verdict, by)

    def _recorded(self, thought: Thought, by: str, verdict: Score | str) -> Score | str:
        """The verdict that stands in the record, where a scorer has been asked once more."""
        known = self.record.verdict(thought.path, by)
        return verdict if known is None else known

    def _merge_equal(self, thoughts: Sequence[Thought]) -> list[Thought]:
        """Of thoughts in one state the earliest, which counts the others from now on."""
        earliest: dict[Hashable, Thought] = {}
        for thought in sorted(thoughts, key=lambda thought: thought.path):
            first = earliest.setdefault(self.growth.state(thought), thought)
            if first is not thought and thought not in self._merged:
                self._merged.add(thought)
                first.multiplicity += thought.multiplicity
        return list(earliest.values())

    def _prune(self, thought: Thought) -> None:
        self._drop_kv(thought.path)
        if thought.status is not Status.FAILED:
            thought.status = Status.PRUNED
            self._emit(events.ThoughtPruned(thought.problem.id, thought.path))


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
