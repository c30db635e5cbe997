"""Arithmetic in named lines: what is right, what is wrong, and what a token sees."""

from __future__ import annotations

import random
import re

import pytest

from tests.fakes import ScriptedLines, run_search
from treereason.core import Finish, Problem, Thought, UserError
from treereason.core.spans import visible
from treereason.search import TreeOfThoughts
from treereason.tasks.arithmetic_spans import ArithmeticSpans, lines_hold, sums_hold
from treereason.tasks.generators import named_lines

QUESTION = "c0=41-7\nc1=c0*2\nc2=90-c1?\nc0"
SOLUTION = "=41-7=34\nc1c0=34*2=68\nc2c1=90-68=22"
PROBLEM = Problem("0", QUESTION, 22)


def written(text: str, finish: Finish = Finish.END) -> Thought:
    thought = Thought(PROBLEM, (0,), (Thought(PROBLEM),), text, finish=finish)
    thought.answer = ArithmeticSpans().parse(thought)
    return thought


@pytest.mark.parametrize(
    ("thought", "answer", "held", "sums"),
    [
        (written(SOLUTION), 22, 1.0, 1.0),
        (written(SOLUTION.replace("22", "23")), 23, 2 / 3, 2 / 3),
        (written(SOLUTION.replace("c2c1", "c2c0")), 22, 2 / 3, 1.0),
        (written("=41-7=34"), None, 1.0, 1.0),
        (written(SOLUTION, Finish.LENGTH), None, 1.0, 1.0),
        (written("what?"), None, 0.0, 0.0),
    ],
)
def test_an_answer_is_the_value_of_the_marked_line(
    thought: Thought, answer: int | None, held: float, sums: float
) -> None:
    task = ArithmeticSpans()
    assert thought.answer == answer
    assert answer is None or task.solved(PROBLEM, answer) == (answer == 22)
    assert lines_hold(thought).value == pytest.approx(held)
    assert lines_hold(thought).final == (answer == 22 and held == 1)
    assert sums_hold(thought) == pytest.approx(sums)


def test_problems_are_those_of_the_generator_and_need_a_model_with_spans() -> None:
    task = ArithmeticSpans(operations=5, limit=3)
    problems = task.problems(1)
    assert problems == task.problems(1)
    assert problems != task.problems(2)
    made = named_lines.parse_question(problems[0].input)
    assert len(made) == 5
    assert problems[0].target == named_lines.values(made)[made[-1].label]
    told = (
        "no prompts for models of style 'embedded', only for: spans; take another model, such as model=embedded_spans"
    )
    with pytest.raises(UserError, match=told):
        task.prompt(Thought(problems[0]), "embedded")


def test_a_line_of_a_solution_sees_its_definition_and_the_values_that_it_names() -> None:
    numbers: dict[str, int] = {}
    text = "^" + QUESTION + SOLUTION

    def pieces(text: str) -> list[str]:
        return re.findall(r"[a-z]\d|.", text, re.DOTALL)

    def encode(text: str) -> list[int]:
        return [numbers.setdefault(piece, len(numbers)) for piece in pieces(text)]

    mask = visible(ArithmeticSpans.spans.policy(encode), encode(text))
    seen = ["".join(piece for piece, shown in zip(pieces(text), row, strict=True) if shown) for row in mask]
    assert seen[-1] == "^c2=90-c1?\nc1c0=34*2=68\nc2c1=90-68=22"
    assert seen[pieces(text).index("?")] == "^c2=90-c1?"


def test_a_thought_is_a_line_where_searches_go_step_by_step() -> None:
    first, second, third = SOLUTION.split("\n")
    lines = {(0,): first, (1,): "=41-7=33", (0, 0): "c1c0=34*2=69", (0, 1): second}
    lines |= {(0, 1, 0): "c2c1=90-68=32", (0, 1, 1): third}
    outcome = run_search(
        TreeOfThoughts(k=2, b=1),
        lambda path: lines[path],
        ArithmeticSpans(stepwise=True),
        lines_hold,
        problems=[PROBLEM],
        engine=ScriptedLines,
        style="spans",
    )
    assert (outcome.done.best, outcome.done.answer, outcome.done.solved) == ((0, 1, 1), 22, True)
    assert [expansion.parent for expansion in outcome.engine.expansions] == [(), (0,), (0, 1)]


def test_whole_solutions_have_room_for_their_longest_lines() -> None:
    problem = ArithmeticSpans(operations=130, limit=1).problems(0)[0]
    prompt = ArithmeticSpans(operations=130).prompt(Thought(problem), "spans")
    assert prompt is not None
    made = named_lines.generate(random.Random(0), 130)
    assert prompt.max_tokens > len(named_lines.solve(made).replace("0", ""))
