"""How one problem's tree grows: children within the budget, and what the decoder answers for them."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from treereason import events
from treereason.controller.asking import Ask, BudgetSpent
from treereason.controller.budget import Budget, Grant
from treereason.controller.scores import Scores
from treereason.core import (
    Cost,
    Decoded,
    Expansion,
    Prompt,
    Resumption,
    Sampling,
    Status,
    Task,
    Thought,
    ThoughtPath,
    Writing,
)
from treereason.text import describe

BROKEN = (Exception, SystemExit, CancelledError, GeneratorExit)
"""What tasks and searches may raise to the harm of one problem alone; Ctrl-C is meant for the run."""


class Growth:
    """Makes thoughts and enters their texts.

    thoughts: all of them, in the order in which they were made. cost: what they took so far.
    unselected: those sampled on the way from the root before any score was seen, so that no score chose among them.
    """

    def __init__(self, task: Task, sampling: Sampling, emit: events.Sink, budget: Budget, scores: Scores) -> None:
        self.thoughts: list[Thought] = []
        self.cost = Cost()
        self.budget = budget
        self._task = task
        self._sampling = sampling
        self._emit = emit
        self._scores = scores
        self._decoding: dict[ThoughtPath, tuple[Thought, Grant | None]] = {}
        self._asked: dict[Thought, tuple[Prompt, Sampling]] = {}
        self._probes: set[Thought] = set()
        self._unselected: set[Thought] = set()
        self._spent = False

    @property
    def unselected(self) -> list[Thought]:
        return [thought for thought in self.thoughts if thought in self._unselected]

    def sample(
        self,
        ask: Ask,
        parents: tuple[Thought, ...],
        prompt: Prompt,
        k: int,
        *,
        sampling: Sampling | None = None,
        probe: bool = False,
        part: bool = False,
        data: dict[str, Any] | None = None,
    ) -> list[Thought]:
        """As many of k children as the budget pays for, entered into what the search asks for."""
        prompt, grants = self.budget.grant(prompt, k)
        sampling = sampling or self._sampling
        children = self._create(parents, prompt, grants, probe=probe, part=part, data=data)
        above = parents[0]
        plain = not (probe or part or len(parents) > 1 or self._scores.any_seen)
        if plain and (above.parent is None or above in self._unselected):
            self._unselected.update(children)
        if children:
            self._asked.update(dict.fromkeys(children, (prompt, sampling)))
            paths = tuple(child.path for child in children)
            ask.requests.append(Expansion(above.problem.id, above.path, prompt, paths, sampling))
        return children

    def write(self, ask: Ask, parent: Thought, prompt: Prompt, texts: Sequence[str], *, part: bool) -> list[Thought]:
        """Children with these texts, none when the problem's time is up."""
        if not texts or self.budget.out_of_time:
            return []
        children = self._create((parent,), prompt, [None] * len(texts), part=part)
        paths = tuple(child.path for child in children)
        ask.requests.append(Writing(parent.problem.id, parent.path, prompt, paths, tuple(texts)))
        return children

    def resume(self, ask: Ask, thought: Thought, tokens: int) -> bool:
        """Let a thought go on for `tokens` more, or fewer; False when the budget pays for none."""
        prompt, sampling = self._asked[thought]
        prompt, grants = self.budget.grant(replace(prompt, max_tokens=tokens), 1)
        for grant in grants:
            self._decoding[thought.path] = thought, grant
            thought.answer, thought.status = None, Status.DECODING
            ask.requests.append(Resumption(thought.problem.id, thought.path, prompt, sampling))
        return bool(grants)

    def spend(self, ask: Ask, *, wanted: bool) -> None:
        """Raises BudgetSpent when a search asks a second time in a row for what its budget does not pay for."""
        if wanted and not ask.requests and self._spent:
            raise BudgetSpent
        if wanted:
            self._spent = not ask.requests

    def take(self, decoded: Decoded) -> None:
        """Enter what the decoder answers for one thought."""
        thought, grant = self._decoding.pop(decoded.path)
        if grant is not None:
            self.budget.settle(grant, decoded.cost.tokens_decoded)
        thought.text, thought.logprob = decoded.text, decoded.logprob
        thought.finish, thought.stop = decoded.finish, decoded.stop
        thought.prompt = thought.prompt if decoded.prompt is None else decoded.prompt
        thought.cost.add(decoded.cost)
        self.cost.add(decoded.cost)
        if decoded.error is not None:
            self.fail(thought, decoded.error)
            return
        thought.status = Status.DECODED
        try:
            if thought not in self._probes and not thought.part:
                thought.answer = self._task.parse(thought)
        except BROKEN as error:
            self.fail(thought, f"parse: {describe(error)}")
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

    def fail(self, thought: Thought, error: str) -> None:
        """Break one thought; the search goes on without it."""
        thought.status, thought.error = Status.FAILED, error
        self._emit(events.ThoughtFailed(thought.problem.id, thought.path, error))

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
            self._emit(events.ThoughtCreated(first.problem.id, child.path, above, probe))
        return children
