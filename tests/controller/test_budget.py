"""What a problem may spend, and what its search does when that is gone."""

from __future__ import annotations

from functools import partial

import pytest

from tests.fakes import InstantScoring, NumberTask, ScriptedEngine, digits, value
from tests.fakes import run_search as run
from treereason import events
from treereason.controller.budget import Budget
from treereason.controller.runner import Runner
from treereason.core import Problem, Prompt, Sampling, Score, Thought
from treereason.search.tree_of_thoughts import TreeOfThoughts


def test_a_token_budget_narrows_the_search_and_is_never_overrun() -> None:
    # The scripted engine decodes two letters per child, which may take up to four.
    class Task(NumberTask):
        def prompt(self, thought: Thought, style: str) -> Prompt | None:  # noqa: ARG002
            return None if thought.depth == 3 else Prompt("", max_tokens=4)

    limits: list[int] = []
    for tokens in (3, 8, 13, 40):
        budget = partial(Budget, tokens)
        outcome = run(TreeOfThoughts(k=3, b=1, steps=3), lambda path: f"1{path[-1]}", Task(steps=3), budget=budget)
        assert outcome.done.tokens_decoded <= tokens
        limits.append(len(outcome.of(events.ThoughtCreated)))
        assert all(e.prompt.max_tokens <= tokens for e in outcome.engine.expansions)
    assert limits == [2, 4, 5, 9]


def test_time_that_is_up_ends_what_decodes_and_keeps_what_is_there() -> None:
    clock = iter(range(100))
    outcome = run(
        TreeOfThoughts(k=2, b=1, steps=50),
        digits,
        NumberTask(steps=50),
        budget=lambda: Budget(seconds=20.0, clock=lambda: float(next(clock))),
    )
    assert outcome.of(events.ThoughtKept)
    assert outcome.done.status == "failed"  # fifty steps were not reached, so there is no answer
    assert len(outcome.of(events.ThoughtCreated)) < 40


def test_time_that_runs_out_makes_children_shorter_at_the_pace_of_those_before() -> None:
    now = [0.0]
    budget = Budget(seconds=10.0, clock=lambda: now[0])
    prompt = Prompt("", max_tokens=8)
    granted, grants = budget.grant(prompt, 2)
    assert (granted.max_tokens, len(grants)) == (8, 2)
    now[0] = 6.0  # half of the tokens came in six seconds
    for grant in grants:
        budget.settle(grant, 4)
    granted, [grant] = budget.grant(prompt, 1)
    assert granted.max_tokens == 2  # four seconds are left, at a second and a half a token
    now[0] = 9.0
    assert budget.grant(prompt, 1)[1] == []
    now[0] = 10.0
    assert budget.out_of_time


@pytest.mark.parametrize(("num_decoded", "took"), [(0, 0.0), (0, 2.0), (4, 0.0)])
def test_children_that_decode_nothing_or_take_no_time_tell_no_pace(num_decoded: int, took: float) -> None:
    now = [0.0]
    budget = Budget(seconds=10.0, clock=lambda: now[0])
    prompt, [grant] = budget.grant(Prompt("", max_tokens=8), 1)
    now[0] = took
    budget.settle(grant, num_decoded)
    assert budget.grant(prompt, 3)[0].max_tokens == 8


def test_time_that_is_up_ends_what_is_scored() -> None:
    now = [0.0]

    class SlowScoring(InstantScoring):
        def poll(self, wait_s: float) -> list[tuple[Thought, Score | str]]:  # noqa: ARG002
            now[0] += 1.0
            return []

    log: list[events.Event] = []
    Runner(
        engine=ScriptedEngine(digits),
        scoring=SlowScoring(value),  # type: ignore[arg-type]
        task=NumberTask(),
        search=TreeOfThoughts(k=2, b=1, steps=1),
        sampling=Sampling(),
        parallel_problems=2,
        emit=log.append,
        budget=lambda: Budget(seconds=5.0, clock=lambda: now[0]),
    ).run([Problem("p", 9)])
    errors = [event.error for event in log if isinstance(event, events.ThoughtFailed)]
    assert errors == ["scorer: the problem's budget.seconds are spent"] * 2
    assert now[0] <= 6.0
