"""Searches on a scripted engine: no model, only what is expanded, scored, kept, pruned and answered."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fakes import InstantScoring, NumberTask, ScriptedEngine, ThoughtPath, value
from tests.fakes import run_search as run
from treereason import events
from treereason.controller.budget import Budget
from treereason.controller.runner import Runner
from treereason.core import Problem, Prompt, Sampling, Score, Status, Thought, Tree
from treereason.search.best_of_n import BestOfN
from treereason.search.self_consistency import SelfConsistency
from treereason.search.single_sample import SingleSample
from treereason.search.tree_of_thoughts import TreeOfThoughts


def digits(path: ThoughtPath) -> str:
    return str(path[-1])


def test_tree_of_thoughts_keeps_the_b_best_and_returns_the_others_now() -> None:
    outcome = run(TreeOfThoughts(k=3, b=2, steps=2), digits, NumberTask(steps=2))
    assert [e.thought for e in outcome.of(events.ThoughtKept)] == [(2,), (1,), (1, 2), (2, 2)]
    assert {(0,), (1, 0), (1, 1), (2, 0), (2, 1)} <= set(outcome.engine.released)
    assert outcome.done.best == (1, 2)
    assert [e.children for e in outcome.engine.expansions] == [
        ((0,), (1,), (2,)),
        ((2, 0), (2, 1), (2, 2)),
        ((1, 0), (1, 1), (1, 2)),
    ]


def test_tree_of_thoughts_stops_at_a_final_score() -> None:
    outcome = run(TreeOfThoughts(k=2, b=1, steps=5), lambda path: "9" if path == (1,) else "3", NumberTask(steps=9))
    assert len(outcome.engine.expansions) == 1


def test_tree_of_thoughts_goes_on_with_what_is_left_of_failed_thoughts() -> None:
    def script(path: ThoughtPath) -> str | None:
        return None if path == (1,) else str(path[-1])

    outcome = run(TreeOfThoughts(k=2, b=1, steps=1), script)
    assert (outcome.done.best, outcome.done.status) == ((0,), "done")
    assert [e.error for e in outcome.of(events.ThoughtFailed)] == ["out of pages"]


def test_self_consistency_takes_the_majority_and_the_earliest_of_equals() -> None:
    answers = ["3", "7", "7", "9", "3"]
    assert run(SelfConsistency(n=5), lambda path: answers[path[0]]).done.answer == 3
    answers[0] = "9"
    assert run(SelfConsistency(n=4), lambda path: answers[path[0]]).done.best == (0,)


def test_best_of_n_takes_the_highest_score() -> None:
    outcome = run(BestOfN(n=4), lambda path: "1805"[path[0]])
    assert (outcome.done.answer, outcome.done.score) == (8, 8.0)
    assert outcome.done.single_sample_scores == (1.0, 8.0, 0.0, 5.0)


def test_samples_of_a_stepwise_task_are_chains() -> None:
    outcome = run(BestOfN(n=2), digits, NumberTask(steps=3))
    assert outcome.done.best == (0, 0, 0)
    assert {e.thought for e in outcome.of(events.ThoughtCreated)} == {
        (0,), (1,), (0, 0), (1, 0), (0, 0, 0), (1, 0, 0),
    }  # fmt: skip
    assert outcome.done.tokens_decoded == 6 * 2


def test_a_broken_scorer_fails_its_thought_and_the_run_goes_on() -> None:
    def scorer(thought: Thought) -> Score | str:
        return "ValueError: no such thing" if thought.text == "3" else value(thought)

    outcome = run(BestOfN(n=4), digits, scorer=scorer)
    assert [e.error for e in outcome.of(events.ThoughtFailed)] == ["scorer: ValueError: no such thing"]
    assert outcome.done.answer == 2


def test_a_task_that_cannot_parse_fails_the_thought() -> None:
    outcome = run(SingleSample(), lambda _: "no number")
    assert outcome.done.status == "failed"
    assert "parse: ValueError" in str(outcome.done.error)


def test_a_task_that_is_cancelled_while_it_parses_fails_the_thought() -> None:
    class Task(NumberTask):
        def parse(self, thought: Thought) -> int | None:  # noqa: ARG002
            raise asyncio.CancelledError("by itself")

    assert run(SingleSample(), digits, Task()).done.error == "parse: CancelledError: by itself"


def test_a_search_that_raises_fails_its_problem_and_returns_its_pages() -> None:
    class Broken:
        async def run(self, tree: Tree) -> Thought | None:
            await tree.expand([tree.root], 2)
            raise KeyError("oh")

    outcome = run(Broken(), digits)
    assert (outcome.done.status, outcome.done.error) == ("failed", "search: KeyError: 'oh'")
    assert outcome.engine.ended == ["p"]


async def _sleeps(tree: Tree) -> Any:
    await tree.expand([tree.root], 1)
    await asyncio.sleep(0)


async def _returns_all(tree: Tree) -> Any:
    return await tree.expand([tree.root], 2)


async def _returns_a_text(tree: Tree) -> Any:  # noqa: ARG001
    return "answer"


def _is_not_async(tree: Tree) -> Any:  # noqa: ARG001
    return None


def _raises_at_once(tree: Tree) -> Any:  # noqa: ARG001
    raise ValueError("boom")


async def _exits(tree: Tree) -> Any:  # noqa: ARG001
    sys.exit("enough")


async def _raises_lines(tree: Tree) -> Any:  # noqa: ARG001
    raise ValueError("no\nsuch\nthing")


class _Wordless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


async def _raises_without_words(tree: Tree) -> Any:  # noqa: ARG001
    raise _Wordless


async def _is_cancelled(tree: Tree) -> Any:  # noqa: ARG001
    raise asyncio.CancelledError("by itself")


async def _closes(tree: Tree) -> Any:
    await tree.expand([tree.root], 1)
    raise GeneratorExit


async def _is_cancelled_at_its_end(tree: Tree) -> Any:  # noqa: ARG001
    try:
        await asyncio.sleep(0)
    finally:
        raise asyncio.CancelledError


async def _does_not_end(tree: Tree) -> Any:
    try:
        await asyncio.sleep(0)
    finally:
        await tree.expand([tree.root], 1)


@pytest.mark.parametrize(
    ("coroutine", "said"),
    [
        (_sleeps, "search: it awaited something else than the tree: a search may only await the tree's primitives"),
        (_returns_all, "search: run returned list: return a Thought or None"),
        (_returns_a_text, "search: run returned str: return a Thought or None"),
        (_is_not_async, "search: AttributeError: 'NoneType' object has no attribute 'send'"),
        (_raises_at_once, "search: ValueError: boom"),
        (_exits, "search: SystemExit: enough"),
        (_raises_lines, "search: ValueError: no such thing"),
        (_raises_without_words, "search: _Wordless"),
        (_is_cancelled, "search: CancelledError: by itself"),
        (_closes, "search: GeneratorExit"),
        (
            _is_cancelled_at_its_end,
            "search: it awaited something else than the tree: a search may only await the tree's primitives",
        ),
        (
            _does_not_end,
            "search: it awaited something else than the tree: a search may only await the tree's primitives",
        ),
    ],
)
def test_a_search_that_breaks_the_rules_fails_its_problem_alone(coroutine: Any, said: str) -> None:
    search: Any = SimpleNamespace(run=coroutine)
    outcome = run(search, digits)
    assert (outcome.done.status, outcome.done.error, outcome.done.answer) == ("failed", said, None)
    assert outcome.engine.ended == ["p"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"text": None}, "Prompt.text=None: give a text"),
        ({"text": 4}, "Prompt.text=4: give a text"),
        ({"shared": None}, "Prompt.shared=None: give a text"),
        ({"stop": ("",)}, "Prompt.stop=('',): give a tuple of texts, none of them empty"),
        ({"stop": (4,)}, "Prompt.stop=(4,): give a tuple of texts, none of them empty"),
        ({"stop": "END"}, "Prompt.stop='END': give a tuple of texts, none of them empty"),
        ({"stop": None}, "Prompt.stop=None: give a tuple of texts, none of them empty"),
        ({"max_tokens": None}, "Prompt.max_tokens=None: give a whole number above 0"),
        ({"max_tokens": 2.5}, "Prompt.max_tokens=2.5: give a whole number above 0"),
        ({"max_tokens": 0}, "Prompt.max_tokens=0: give a whole number above 0"),
        ({"max_tokens": -3}, "Prompt.max_tokens=-3: give a whole number above 0"),
        ({"token_ids": 7}, "Prompt.token_ids=7: give a tuple of whole numbers"),
        ({"token_ids": (1, "2")}, "Prompt.token_ids=(1, '2'): give a tuple of whole numbers"),
    ],
)
@pytest.mark.parametrize("budget", [Budget, lambda: Budget(tokens=100)])
def test_a_malformed_prompt_fails_its_problem_in_one_line(
    budget: Callable[[], Budget], fields: dict[str, Any], said: str
) -> None:
    class Task(NumberTask):
        def prompt(self, thought: Thought, style: str) -> Prompt | None:  # noqa: ARG002
            return Prompt(**{"text": "", **fields})

    outcome = run(SingleSample(), digits, Task(), budget=budget)
    assert (outcome.done.status, outcome.done.error) == ("failed", f"search: ValueError: {said}")


@pytest.mark.parametrize("method", ["solved", "prompt"])
def test_a_task_that_raises_once_the_search_is_over_fails_its_problem(method: str) -> None:
    task = NumberTask(steps=2 if method == "prompt" else 1)

    def broken(*_: object) -> Any:
        raise RuntimeError("no idea")

    class Late:
        async def run(self, tree: Tree) -> Thought | None:
            thoughts = await tree.expand([tree.root], 2)
            await tree.score(thoughts)
            setattr(task, method, broken)
            return thoughts[0]

    outcome = run(Late(), digits, task)
    assert outcome.done.status == "failed"
    assert (outcome.done.solved, outcome.done.error) == (False, "task: RuntimeError: no idea")


class _First:
    async def run(self, tree: Tree) -> Thought | None:
        thoughts = await tree.expand([tree.root], 2)
        await tree.score(thoughts)
        return thoughts[0]


def test_no_answer_is_never_solved() -> None:
    class Task(NumberTask):
        def parse(self, thought: Thought) -> int | None:  # noqa: ARG002
            return None

        def solved(self, problem: Problem, answer: Any) -> bool:  # noqa: ARG002
            return True

    outcome = run(_First(), digits, Task())
    assert (outcome.done.solved, outcome.done.single_sample_solved) == (False, (False, False))


def test_a_sample_that_breaks_the_task_takes_nothing_from_a_good_answer() -> None:
    class Task(NumberTask):
        def solved(self, problem: Problem, answer: Any) -> bool:
            return bool(1 / (1 - answer)) and super().solved(problem, 9 + answer)

    outcome = run(_First(), digits, Task())
    assert (outcome.done.status, outcome.done.solved, outcome.done.error) == ("done", True, None)
    assert outcome.done.single_sample_solved == (True, False)


def test_join_has_several_parents_and_probe_leaves_nothing_behind() -> None:
    class Aggregate:
        async def run(self, tree: Tree) -> Thought | None:
            halves = await tree.expand([tree.root], 2)
            assert await tree.probe(halves[1], Prompt(" is it good?", appended=True)) == "0"
            [joined] = await tree.join(halves, Prompt("merge", appended=True))
            await tree.score([joined])
            assert joined.parents == tuple(halves)
            assert joined.status is Status.DECODED
            return tree.best()

    outcome = run(Aggregate(), digits)
    assert outcome.of(events.ThoughtCreated)[-1].parents == ((0,), (1,))
    assert not outcome.engine.expansions[-1].prompt.appended
    assert (1, 0) in outcome.engine.released
    assert [event.thought for event in outcome.of(events.ThoughtCreated) if event.probe] == [(1, 0)]
    assert (1, 0) not in [event.thought for event in outcome.of(events.ThoughtPruned)]


@pytest.mark.parametrize("stop_after", [0, 1, 3])
def test_a_stopped_run_gives_up_what_is_in_flight(stop_after: int) -> None:
    engine, calls = ScriptedEngine(digits), iter(range(100))
    log: list[events.Event] = []
    Runner(
        engine=engine,
        scoring=InstantScoring(value),  # type: ignore[arg-type]
        task=NumberTask(),
        search=BestOfN(n=5),
        sampling=Sampling(),
        parallel_problems=2,
        emit=log.append,
        stopped=lambda: next(calls) >= stop_after,
    ).run([Problem(name, 9) for name in "abc"])
    assert engine.ended == (["a", "b"] if stop_after else [])
    assert not [event for event in log if isinstance(event, events.ProblemDone)]


def test_a_token_budget_narrows_the_search_and_is_never_overrun() -> None:
    # The scripted engine decodes 2 tokens a child; a child may take up to 4.
    class Task(NumberTask):
        def prompt(self, thought: Thought, style: str) -> Prompt | None:  # noqa: ARG002
            return None if thought.depth == 3 else Prompt("", max_tokens=4)

    limits: list[int] = []
    for tokens in (3, 8, 13, 40):
        budget = partial(Budget, tokens)
        outcome = run(TreeOfThoughts(k=3, b=1, steps=3), digits, Task(steps=3), budget=budget)
        assert outcome.done.tokens_decoded <= tokens
        limits.append(len(outcome.of(events.ThoughtCreated)))
        assert all(e.prompt.max_tokens <= tokens for e in outcome.engine.expansions)
    assert limits == [2, 4, 5, 9]


def test_samples_that_the_budget_does_not_pay_for_are_not_drawn() -> None:
    outcome = run(SelfConsistency(n=5), digits, budget=lambda: Budget(2 * 256))
    assert len(outcome.of(events.ThoughtCreated)) == 2
    assert outcome.done.status == "done"


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


def test_tokens_that_the_answer_does_not_stand_on_are_wasted() -> None:
    outcome = run(TreeOfThoughts(k=3, b=1, steps=2), digits, NumberTask(steps=2))
    assert outcome.done.tokens_decoded == 6 * 2
    assert outcome.done.tokens_wasted == 4 * 2
