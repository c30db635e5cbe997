"""How one problem's tree grows: children within the budget, and what the decoder answers for them."""

from __future__ import annotations

from asyncio import CancelledError
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace
from hashlib import blake2b
from math import inf
from typing import Any

from treereason import events
from treereason.controller.asking import Ask, BudgetSpent
from treereason.controller.budget import Budget, Grant
from treereason.controller.log_once import LogOnce
from treereason.controller.scores import Scores
from treereason.core import (
    Cost,
    Decoded,
    Expansion,
    Finish,
    Prompt,
    Resumption,
    Sampling,
    Status,
    Task,
    Thought,
    ThoughtPath,
    Writing,
)
from treereason.record.begun_problem import BegunProblem
from treereason.text import describe, raised_in

ALL_ALIKE = "temperature near 0 or top_k=1: all children of a thought would be equal, so one is decoded for all"

MOST_IDLE = 10_000
"""Calls in a row that ask for nothing new, after which a search with a budget ends."""
MOST_IDLE_WHEN_SPENT = 1_000
BROKEN = (Exception, SystemExit, CancelledError, GeneratorExit)
"""What ends one problem alone when a task or search raises it; Ctrl-C is not in it, because it ends the run."""


class Growth:
    """Makes thoughts and enters their texts.

    thoughts: all of them, in the order in which they were made. cost: what they took so far.
    turn: how often the search has gone on; the runner counts. by_judge: what is made now is made by a judge;
    judge_cost: what that took so far. log_once: for what is worth one line in a run. record: of the problem, where its
    search runs once more.
    """

    def __init__(
        self,
        task: Task,
        sampling: Sampling,
        emit: events.Sink,
        budget: Budget,
        scores: Scores,
        log_once: LogOnce,
        record: BegunProblem,
    ) -> None:
        self.thoughts: list[Thought] = []
        self.cost = Cost()
        self.judge_cost = Cost()
        self.by_judge = False
        self.budget = budget
        self.turn = 0
        self._task = task
        self._sampling = sampling
        self._emit = emit
        self._scores = scores
        self._log_once = log_once
        self._record = record
        self._decoding: dict[ThoughtPath, tuple[Thought, Grant | None]] = {}
        self._num_idle = 0
        self._asked: dict[Thought, tuple[Prompt, Sampling]] = {}
        self._probes: set[Thought] = set()
        self._judges: set[Thought] = set()
        self._unselected: set[Thought] = set()
        self._shortened: set[Thought] = set()
        self._complete: set[Thought] = set()
        self._unpaid_in: int | None = None

    @property
    def unselected(self) -> list[Thought]:
        """Thoughts sampled on the way from the root before any score was seen, so that no score chose among them."""
        return [t for t in self.thoughts if t in self._unselected and not self.is_beginning(t)]

    def is_beginning(self, thought: Thought) -> bool:
        """Whether the search itself cut the thought, below what the task allows, and it can still be resumed."""
        return thought.finish is Finish.LENGTH and thought in self._shortened and thought not in self._complete

    def sample(
        self,
        ask: Ask,
        parents: tuple[Thought, ...],
        prompt: Prompt,
        k: int,
        *,
        sampling: Sampling | None = None,
        tokens: int | None = None,
        probe: bool = False,
        part: bool = False,
        data: dict[str, Any] | None = None,
    ) -> list[Thought]:
        """k children, or as many as the budget pays for; their request is added to `ask`.

        tokens: the search's own limit per child, where that is below the prompt's.
        At temperature 0 or near it, or top_k 1, children could not differ: one stands for all of them.
        """
        whole = prompt
        if tokens is not None:
            prompt = replace(prompt, max_tokens=min(prompt.max_tokens, tokens))
        shorter = prompt.max_tokens < whole.max_tokens
        sampling = sampling or self._sampling
        copies = k if sampling.greedy and k > 1 else 1
        if copies > 1:
            self._log_once(ALL_ALIKE)
        asked = _digest(prompt, sampling)
        prompt, grants = self._grant(parents[0], prompt, k // copies)
        children = self._create(parents, prompt, grants, asked=asked, probe=probe, part=part, data=data)
        for child in children:
            child.multiplicity = copies * parents[0].multiplicity
        above = parents[0]
        plain = not (probe or part or len(parents) > 1 or self._scores.any_seen)
        if plain and (above.parent is None or above in self._unselected):
            self._unselected.update(children)
        if children:
            self._asked.update(dict.fromkeys(children, (whole, sampling)))
            if shorter:
                self._shortened.update(children)
            paths = tuple(child.path for child in children)
            ask.requests.append(Expansion(above.problem.id, above.path, prompt, paths, sampling))
        return children

    def state(self, thought: Thought) -> Hashable:
        """Equal for thoughts that nothing can come out differently below: all that the model saw and wrote."""
        first = thought
        while first.appended and first.parent is not None:
            first = first.parent
        token_ids = self._asked[first][0].token_ids if first in self._asked else ()
        return thought.transcript(), token_ids, thought.finish is Finish.END, thought.part

    def write(self, ask: Ask, parent: Thought, prompt: Prompt, texts: Sequence[str], *, part: bool) -> list[Thought]:
        """Children with these texts, none when the problem's time is up."""
        if not texts or (self.budget.out_of_time and not self._record.granted(_next_paths(parent, len(texts)))):
            return []
        asked = _digest(prompt, texts)
        children = self._create((parent,), prompt, [None] * len(texts), asked=asked, part=part)
        paths = tuple(child.path for child in children)
        ask.requests.append(Writing(parent.problem.id, parent.path, prompt, paths, tuple(texts)))
        return children

    def resume(self, ask: Ask, thought: Thought, tokens: int) -> bool:
        """Let a thought go on for `tokens` more, or fewer; False when nothing can follow or be paid."""
        whole, sampling = self._asked[thought]
        left = whole.max_tokens - thought.cost.tokens_decoded
        if left < 1 or thought in self._complete:
            return False
        prompt = replace(whole, max_tokens=min(tokens, left))
        if (known := self._record.granted_more(thought.path)) is None:
            prompt, grants = self.budget.grant(prompt, 1)
        else:
            prompt, grants = replace(prompt, max_tokens=known), self.budget.grant_again([known])
        for grant in grants:
            self._emit(events.ThoughtResumed(thought.problem.id, thought.path, grant.max_tokens))
            self._decoding[thought.path] = thought, grant
            thought.answer, thought.status = None, Status.DECODING
            ask.requests.append(Resumption(thought.problem.id, thought.path, prompt, sampling))
            if self._scores.any_seen:  # perhaps its score has chosen it
                self._unselected.discard(thought)
        return bool(grants)

    def spend(self, ask: Ask, *, wanted: bool) -> None:
        """Raises BudgetSpent when a search has got nothing, went on, and asks again for what it cannot have."""
        if not wanted:
            self.idle()
            return
        if ask.requests:
            self._unpaid_in, self._num_idle = None, 0
        elif self._unpaid_in is None:
            self._unpaid_in = self.turn
        elif self._unpaid_in < self.turn:
            raise BudgetSpent

    def idle(self) -> None:
        """Count a call that asks for nothing new. Raises BudgetSpent when nothing else comes under a budget."""
        self._num_idle += 1
        if self.budget.limited and self._num_idle > (MOST_IDLE_WHEN_SPENT if self.budget.spent else MOST_IDLE):
            raise BudgetSpent

    def take(self, decoded: Decoded) -> None:
        """Enter what the decoder answers for one thought."""
        thought, grant = self._decoding.pop(decoded.path)
        resumed = thought.finish is not None
        told = _told(decoded, thought)
        if grant is not None:
            self.budget.settle(grant, decoded.cost.tokens_decoded, decoded.cost.seconds)
        thought.text, thought.logprob, thought.num_tokens = decoded.text, decoded.logprob, decoded.num_tokens
        thought.finish, thought.stop = decoded.finish, decoded.stop
        thought.token_statistics = decoded.token_statistics
        thought.prompt = thought.prompt if decoded.prompt is None else decoded.prompt
        thought.cost.add(decoded.cost)
        self.cost.add(decoded.cost)
        if thought in self._judges:
            self.judge_cost.add(decoded.cost)
        if decoded.error is not None:
            self.fail(thought, decoded.error, decoded={**told, "error": decoded.error})
            return
        thought.status = Status.DECODED
        if resumed and decoded.cost.tokens_decoded:
            self._scores.forget(thought)
        if thought.cost.tokens_decoded >= self._limit(thought) or (resumed and not decoded.cost.tokens_decoded):
            self._complete.add(thought)  # as much as the task allows, or the model holds
        try:
            if thought not in self._probes and not thought.part and not self.is_beginning(thought):
                thought.answer = self._task.parse(thought)
        except BROKEN as error:
            why = f"parse: {describe(error)}{raised_in(error, self._task)}"
            self.fail(thought, why, decoded={**told, "error": None})
            return
        self._emit(events.ThoughtDecoded(answer=thought.answer, **told))

    def fail(self, thought: Thought, error: str, *, by: str = "", decoded: dict[str, Any] | None = None) -> None:
        """Break one thought; the search goes on without it. by, decoded: as in events.ThoughtFailed."""
        thought.status, thought.error = Status.FAILED, error
        self._emit(events.ThoughtFailed(thought.problem.id, thought.path, error, by, decoded))

    @property
    def num_cut(self) -> int:
        """Thoughts that a limit of task or budget cut off. What only a limit was to end does not count."""
        at_limit = [t for t in self._sampled() if t.finish is Finish.LENGTH and not self.is_beginning(t)]
        return sum(not self._asked[thought][0].ignore_end for thought in at_limit)

    @property
    def num_empty(self) -> int:
        """Thoughts that the model left without text, and that give no answer."""
        return sum(not thought.text.strip() and thought.answer is None for thought in self._sampled())

    @property
    def finishes(self) -> dict[str, int]:
        """How many thoughts each cause ended."""
        return dict(sorted(Counter(str(t.finish) for t in self._sampled() if not self.is_beginning(t)).items()))

    def tokens_wasted(self, answer: Thought | None) -> int:
        """Decoded tokens of thoughts that the answer does not build on, probes included."""
        rests_on: set[Thought] = set()
        reached = [answer] if answer is not None else []
        while reached:
            thought = reached.pop()
            if thought not in rests_on:
                rests_on.add(thought)
                reached += thought.parents
        return self.cost.tokens_decoded - sum(thought.cost.tokens_decoded for thought in rests_on)

    def _sampled(self) -> list[Thought]:
        """Thoughts that the search had the model write, and that are decoded."""
        ended = (t for t in self.thoughts if t not in self._judges and t not in self._probes)
        return [t for t in ended if t.finish is not None and t.finish is not Finish.GIVEN]

    def _limit(self, thought: Thought) -> float:
        """Tokens that the task allows the thought."""
        return self._asked[thought][0].max_tokens if thought in self._asked else inf

    def _create(
        self,
        parents: tuple[Thought, ...],
        prompt: Prompt,
        grants: Sequence[Grant | None],
        *,
        asked: str,
        probe: bool = False,
        part: bool = False,
        data: dict[str, Any] | None = None,
    ) -> list[Thought]:
        """A child per grant, named by its rank below the first parent."""
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
            if self.by_judge:
                self._judges.add(child)
            limit = None if grant is None else grant.max_tokens
            self._emit(events.ThoughtCreated(first.problem.id, child.path, above, probe, limit, asked))
        return children

    def _grant(self, parent: Thought, prompt: Prompt, k: int) -> tuple[Prompt, list[Grant]]:
        """What the budget grants k children, or granted them when they were decoded before."""
        if known := self._record.granted(_next_paths(parent, k)):
            return replace(prompt, max_tokens=known[0]), self.budget.grant_again(known)
        return self.budget.grant(prompt, k)


def _next_paths(parent: Thought, k: int) -> list[ThoughtPath]:
    return [(*parent.path, parent.num_children + i) for i in range(k)]


def _digest(*asked: object) -> str:
    """Short, and equal for equal requests: whether a search asks for what it asked before."""
    return blake2b(repr(asked).encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def _told(decoded: Decoded, before: Thought) -> dict[str, Any]:
    """The fields of ThoughtDecoded that the decoder tells. before: the thought, not yet changed by it."""
    rows: tuple[tuple[float, ...], ...] = ()
    if (statistics := decoded.token_statistics) is not None:
        start = len(before.token_statistics) if before.token_statistics is not None else 0
        rows = tuple(zip(statistics.entropy, statistics.self_certainty, statistics.confidence, strict=True))[start:]
    return {
        "problem": decoded.problem,
        "thought": decoded.path,
        "text": decoded.text,
        "logprob": decoded.logprob,
        "tokens_prefilled": decoded.cost.tokens_prefilled,
        "tokens_decoded": decoded.cost.tokens_decoded,
        "tokens_reused": decoded.cost.tokens_reused,
        "kv_token_steps": decoded.cost.kv_token_steps,
        "seconds": decoded.cost.seconds,
        "finish": decoded.finish or "",
        "tokens": decoded.token_ids,
        "num_tokens": decoded.num_tokens,
        "stop": decoded.stop,
        "seen": decoded.seen,
        "token_statistics": rows,
    }
