"""What every built-in task, search and scorer keeps to. A new one is tested without a test of its own."""

from __future__ import annotations

import inspect
import itertools
import json
import math
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.fakes import NumberTask, Outcome, ScriptedEngine, run_search, value
from treereason import events
from treereason.config.registry import builtin
from treereason.config.scorers import load_scorer, scorer_reference
from treereason.controller.budget import Budget
from treereason.core import Cost, Finish, Problem, Prompt, Score, Scorer, Task, Thought, ThoughtPath, UserError
from treereason.jsonable import jsonable


def scorers(task: Task) -> Mapping[str, Scorer]:
    """The scorers that a task offers by name, without those that need a package of their own."""
    named: Mapping[str, Scorer] = sys.modules[type(task).__module__].SCORERS
    return {name: scorer for name, scorer in named.items() if not hasattr(scorer, "needs")}


TASKS, SEARCHES = builtin("task"), builtin("search")
STYLES = ("embedded", "spans", "chat", "plain")
# Nodes of one token each, as the scripted engine decodes digits.
_NODES = {
    "0": {"value": 5, "start": -4, "end": 0, "children": [1, 2]},
    "1": {"value": 1, "start": 1, "end": 1, "children": [3]},
    "2": {"value": 1, "start": 1, "end": 1, "children": []},
    "3": {"value": 1, "start": 2, "end": 2, "children": []},
}
TASK_OF = {"choose": "choices", "recorded": "recorded"}
"""The tasks of searches that run on no other."""
FILES = {
    "crosswords": json.dumps([[[f"clue {i}" for i in range(10)], list("HEARTEMBERABUSERESINTREND")]] * 3),
    "recorded": json.dumps([{"data": _NODES}] * 3),
    "word_problems": "".join(f'{{"question": "{i} + {i}?", "answer": "#### {2 * i}"}}\n' for i in range(3)),
}
"""Contents of a problem file, for tasks that generate no problems."""


@pytest.fixture(scope="module")
def make_task(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Task]:
    folder = tmp_path_factory.mktemp("files")

    def make(name: str) -> Task:
        if name in FILES:
            path: Path = folder / name
            path.write_text(FILES[name])
            task: Task = TASKS[name](path=str(path), limit=3)
        else:
            task = TASKS[name](limit=3)
        return task

    return make


@pytest.fixture(params=TASKS)
def task(request: pytest.FixtureRequest, make_task: Callable[[str], Task]) -> Task:
    return make_task(request.param)


def asked(task: Task, thought: Thought, style: str) -> Prompt | UserError | None:
    """The prompt below a thought, or why the task has none for this style."""
    try:
        return task.prompt(thought, style)
    except UserError as error:
        return error


def prompts(task: Task, thought: Thought) -> dict[str, Prompt]:
    """The prompts below a thought in all styles for which the task has one."""
    answers = {style: asked(task, thought, style) for style in STYLES}
    return {style: answer for style, answer in answers.items() if isinstance(answer, Prompt)}


def decoded(task: Task, problem: Problem, text: str) -> Thought:
    """A thought below the root that is as long as its prompt allows."""
    root = Thought(problem)
    prompt = next(iter(prompts(task, root).values()))
    return Thought(problem, (0,), (root,), text, cost=Cost(tokens_decoded=prompt.max_tokens))


@pytest.mark.parametrize("cls", [*TASKS.values(), *SEARCHES.values()], ids=lambda cls: cls.__qualname__)
def test_every_class_says_what_it_is(cls: type) -> None:
    own = cls.__doc__ or ""
    assert own
    assert not own.startswith(f"{cls.__name__}("), "a dataclass without docstring is given its signature"
    if cls in TASKS.values():
        for name, scorer in sys.modules[cls.__module__].SCORERS.items():
            assert inspect.getdoc(scorer), name


def test_problems_depend_on_the_seed_alone_and_have_names_of_their_own(task: Task) -> None:
    random.seed(1)
    state = random.getstate()
    problems = task.problems(7)
    assert random.getstate() == state
    random.seed(2)
    assert list(task.problems(7)) == list(problems)
    assert len(problems) == 3
    assert len({problem.id for problem in problems}) == 3
    assert all(isinstance(problem.id, str) and problem.id for problem in problems)
    for problem in problems:
        assert json.loads(json.dumps([problem.input, problem.target])) == [problem.input, problem.target]


def test_every_problem_has_the_same_prompt_whenever_it_is_asked_for(task: Task) -> None:
    shared: dict[str, set[str]] = {style: set() for style in STYLES}
    for problem in task.problems(0):
        found = prompts(task, Thought(problem))
        assert found
        assert found == prompts(task, Thought(problem))
        for style, prompt in found.items():
            assert not prompt.appended
            assert prompt.text or prompt.token_ids
            shared[style].add(prompt.shared)
    assert all(len(texts) <= 1 for texts in shared.values()), "what is shared is the same for all problems"


def test_a_style_without_prompts_is_refused_in_one_line(task: Task) -> None:
    for style in STYLES:
        answer = asked(task, Thought(task.problems(0)[0]), style)
        if isinstance(answer, UserError):
            assert len(str(answer).splitlines()) == 1
            assert "model.style" in str(answer) or "the shipped model" in str(answer)
        else:
            assert answer is not None


LONG = ("[" * 10_000, "9" * 10_000, "A" + "9" * 5_000, "%s\n" * 50, "the " * 4_000, "1\n" * 5_000)
"""Of these, what models repeat until they are stopped: a reader that takes a square of the time hangs the run."""
HOSTILE = st.one_of(
    st.text(max_size=60),
    st.text("0123456789[](){}<>,;:=+-*/ .\n#QAx٣²", max_size=80),
    st.sampled_from(["", "\0", "\ud800", "1e999", "nan", "{0}", *LONG]),
)


@pytest.mark.parametrize("name", TASKS)
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(HOSTILE, min_size=1, max_size=3),
    number=st.integers(0, 2),
    style=st.sampled_from(["", *STYLES]),
    finish=st.sampled_from(Finish),
)
def test_no_text_breaks_a_task_or_its_scorers(
    make_task: Callable[[str], Task], name: str, texts: list[str], number: int, style: str, finish: Finish
) -> None:
    task = make_task(name)
    problem = task.problems(0)[number]
    for text in texts:
        thought = decoded(task, problem, text)
        thought.finish = finish
        prompt = prompts(task, Thought(problem)).get(style)
        thought.prompt = prompt.plain if prompt is not None else ""  # without: one that was made by hand
        thought.answer = task.parse(thought)
        json.dumps(jsonable(thought.answer))
        assert not task.solved(problem, None)
        if thought.answer is not None:
            assert task.solved(problem, thought.answer) in (True, False)
        for scorer_name, scorer in scorers(task).items():
            assert_finite(scorer_name, scorer(thought))
        for each in STYLES:
            asked(task, thought, each)


def assert_finite(name: str, score: float | Score) -> None:
    number = score.value if isinstance(score, Score) else score
    assert math.isfinite(number), name


def test_the_default_scorer_loads_and_scores_thoughts_with_and_without_an_answer(task: Task) -> None:
    assert task.scorer in scorers(task)
    scorer = load_scorer(scorer_reference(None, task))
    for problem in task.problems(0):
        thought = decoded(task, problem, "12")
        assert_finite(task.scorer, scorer(thought))
        thought.answer = task.parse(thought)
        assert_finite(task.scorer, scorer(thought))


class FirstInFirstOut(ScriptedEngine):
    """Gives children back in the order in which they were asked for."""

    def step(self) -> Any:
        self._queue.append(self._queue.pop(0))
        return super().step()


def rank(path: ThoughtPath) -> str:
    return str(path[-1])


def every_second_fails(path: ThoughtPath) -> str | None:
    return None if path[-1] % 2 else str(path[-1])


SCRIPTS: dict[str, Callable[[ThoughtPath], str | None]] = {
    "all decode": rank,
    "every second fails": every_second_fails,
    "all fail": lambda _: None,
    "none can be read": lambda _: "?",
    "all are cut": lambda path: f"{path[-1]}" * 400,
}


def number(thought: Thought) -> Score | str:
    """As a scorer in a process of its own answers: what it raises comes back as a text."""
    return value(thought) if thought.text.isdigit() else "ValueError: no number"


def broken(thought: Thought) -> str:  # noqa: ARG001
    return "ValueError: no score"


def scorer_of(task: Task) -> Callable[[Thought], Any]:
    return number if isinstance(task, NumberTask) else load_scorer(scorer_reference(None, task))


@pytest.fixture(params=["an answer per thought", "three thoughts to an answer"])
def searched(request: pytest.FixtureRequest) -> Task:
    task: Task = NumberTask(steps=1 if request.param == "an answer per thought" else 3)
    return task


def problems_of(task: Task, count: int) -> Sequence[Problem]:
    return [Problem(str(i), 9) for i in range(count)] if isinstance(task, NumberTask) else task.problems(0)[:count]


def ends(outcome: Outcome, problems: Sequence[Problem]) -> list[events.ProblemDone]:
    """How each problem ended, in their order; each has, and nothing was raised by the search itself."""
    done = {event.problem: event for event in outcome.of(events.ProblemDone)}
    assert sorted(outcome.engine.ended) == sorted(done) == sorted(problem.id for problem in problems)
    assert not outcome.engine.busy
    for event in done.values():
        assert event.error is None or not event.error.startswith(("search:", "task:")), event.error
    return [done[problem.id] for problem in problems]


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("search", SEARCHES)
def test_every_search_comes_to_an_end(
    search: str, script: str, searched: Task, make_task: Callable[[str], Task]
) -> None:
    task = make_task(TASK_OF[search]) if search in TASK_OF else searched
    for count, limit, scorer in itertools.product((1, 3), (None, 1, 3), (scorer_of(task), broken)):
        problems = problems_of(task, count)
        budget = partial(Budget, limit)
        outcome = run_search(SEARCHES[search](), SCRIPTS[script], task, scorer, budget, problems=problems)
        for event in ends(outcome, problems):
            assert limit is None or event.tokens_decoded <= limit
            assert event.status == "done" or event.error
            if script == "all fail":
                assert (event.status, event.best) == ("failed", None)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("script", ["all decode", "every second fails"])
def test_what_a_search_finds_does_not_depend_on_the_order_in_which_thoughts_come_back(
    search: str, script: str, searched: Task, make_task: Callable[[str], Task]
) -> None:
    task = make_task(TASK_OF[search]) if search in TASK_OF else searched
    problems = problems_of(task, 3)
    run = partial(run_search, SEARCHES[search](), SCRIPTS[script], task, scorer_of(task), problems=problems)
    last_first, first_first = run(), run(engine=FirstInFirstOut)
    assert ends(last_first, problems) == ends(first_first, problems)
    assert any(event.answer is not None for event in ends(last_first, problems))
