"""The runner on a scripted engine: what a search or task may do wrong, and what that costs."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fakes import InstantScoring, NumberTask, Outcome, ScriptedEngine, digits, value
from tests.fakes import run_search as run
from treereason import events
from treereason.controller.budget import Budget
from treereason.controller.runner import Runner
from treereason.core import Problem, Prompt, Sampling, Score, Status, Thought, Tree
from treereason.search.best_of_n import BestOfN
from treereason.search.single_sample import SingleSample


def error_of(outcome: Outcome) -> str:
    """The problem's error without the line of this file in which it came up."""
    return re.sub(r" \(test_runner\.py, line \d+\)$", "", str(outcome.done.error))


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

    assert error_of(run(SingleSample(), digits, Task())) == "parse: CancelledError: by itself"


def test_an_error_of_a_task_names_file_and_line() -> None:
    class Task(NumberTask):
        def parse(self, thought: Thought) -> int | None:
            return int(thought.text) // 0

    line = Task.parse.__code__.co_firstlineno + 1
    why = f"parse: ZeroDivisionError: integer division or modulo by zero (test_runner.py, line {line})"
    assert run(SingleSample(), digits, Task()).done.error == why


def test_a_search_that_raises_fails_its_problem_and_returns_its_pages() -> None:
    class Broken:
        async def run(self, tree: Tree) -> Thought | None:
            await tree.expand([tree.root], 2)
            raise KeyError("oh")

    outcome = run(Broken(), digits)
    assert (outcome.done.status, error_of(outcome)) == ("failed", "search: KeyError: 'oh'")
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


NO_PRIMITIVE = (
    "search: it awaited something that is not a primitive of the tree, such as asyncio.sleep or a task: "
    "await tree.expand and the like, and tree.gather for several at once"
)


@pytest.mark.parametrize(
    ("coroutine", "said"),
    [
        (_sleeps, NO_PRIMITIVE),
        (_returns_all, "search: run returned list: return a Thought or None"),
        (_returns_a_text, "search: run returned str: return a Thought or None"),
        (_is_not_async, "search: TypeError: run is not a coroutine: write `async def run(self, tree)`"),
        (_raises_at_once, "search: ValueError: boom"),
        (_exits, "search: SystemExit: enough"),
        (_raises_lines, "search: ValueError: no such thing"),
        (_raises_without_words, "search: _Wordless"),
        (_is_cancelled, "search: CancelledError: by itself"),
        (_closes, "search: GeneratorExit"),
        (_is_cancelled_at_its_end, NO_PRIMITIVE),
        (_does_not_end, NO_PRIMITIVE),
    ],
)
def test_a_search_that_breaks_the_rules_fails_its_problem_alone(coroutine: Any, said: str) -> None:
    search: Any = SimpleNamespace(run=coroutine)
    outcome = run(search, digits)
    assert (outcome.done.status, error_of(outcome), outcome.done.answer) == ("failed", said, None)
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
    assert (outcome.done.status, error_of(outcome)) == ("failed", f"search: ValueError: {said}")


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
    assert (1, 0) in outcome.engine.dropped
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


def test_thoughts_that_a_limit_cut_off_are_counted_but_not_what_the_search_left_at_its_beginning() -> None:
    class Task(NumberTask):
        def prompt(self, thought: Thought, style: str) -> Prompt | None:  # noqa: ARG002
            return None if thought.depth else Prompt("", max_tokens=4)

    class Resuming:
        async def run(self, tree: Tree) -> Thought | None:
            thoughts = await tree.expand([tree.root], 3, tokens=2)
            await tree.resume(thoughts[:2], 5)
            return thoughts[0]

    texts = ["12345", "123", "12345"]
    resumed = run(Resuming(), lambda path: texts[path[0]], Task()).done
    assert (resumed.thoughts_cut, resumed.finishes) == (1, {"end": 1, "length": 1})
    assert run(BestOfN(n=3), lambda path: texts[path[0]], Task()).done.thoughts_cut == 2


def test_what_ended_the_texts_is_counted_and_so_are_empty_ones_that_answer_nothing() -> None:
    class Task(NumberTask):
        def prompt(self, thought: Thought, style: str) -> Prompt | None:  # noqa: ARG002
            return None if thought.depth else Prompt("", max_tokens=4)

        def parse(self, thought: Thought) -> int | None:
            return len(thought.text) or None

    class Writing:
        async def run(self, tree: Tree) -> Thought | None:
            thoughts = await tree.expand([tree.root], 4)
            await tree.write(tree.root, ["given"])
            await tree.probe(thoughts[0], Prompt("?"))
            return thoughts[0]

    texts = ["12", " ", "", "123456"]
    script = lambda path: texts[path[0]] if path[0] < 4 else "x"  # noqa: E731
    done = run(Writing(), script, Task(), scorer=lambda _: Score(0.0)).done
    assert (done.finishes, done.thoughts_empty) == ({"end": 3, "length": 1}, 1)
