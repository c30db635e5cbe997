"""Expressions: generator, evaluator, worked solutions, and the check of their lines."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treereason.tasks.generators import arithmetic


@given(st.integers(0, 10_000), st.integers(1, 6))
def test_solutions_reach_the_value_step_by_step(seed: int, operations: int) -> None:
    rng = random.Random(seed)
    expression = arithmetic.generate_expression(rng, operations)
    truth = eval(expression)
    assert arithmetic.evaluate(expression) == truth
    assert sum(expression.count(operator) for operator in "+-*") == operations
    lines = arithmetic.solve(expression, rng)
    assert len(lines) == operations
    assert lines[-1] == str(truth)
    assert all(0 <= int(number) <= 999 for line in lines for number in re.findall(r"\d+", line))
    text = arithmetic.render_solution(lines, truth)
    assert arithmetic.check_steps(expression, text) == [True] * operations
    assert arithmetic.parse_answer(text) == truth


@given(st.integers(0, 10_000))
def test_products_keep_to_the_small_tables(seed: int) -> None:
    expression = arithmetic.generate_expression(random.Random(seed), 6)
    for left, right in re.findall(r"(\d+)\*(\d+)", expression):
        assert min(int(left), int(right)) <= 9
        assert max(int(left), int(right)) <= 99


def test_one_seed_gives_one_problem() -> None:
    first, second, other = (arithmetic.generate_expression(random.Random(seed), 6) for seed in (5, 5, 6))
    assert first == second != other


def test_solutions_of_one_question_differ_in_order() -> None:
    orders = {tuple(arithmetic.solve("1+2+3+4*5", random.Random(seed))) for seed in range(20)}
    assert len(orders) > 3


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("2+4*5", ["2+20"]),
        ("9-2+1", ["7+1"]),
        ("1+2-3", ["3-3"]),
        ("1+5-3", ["6-3", "1+2"]),
        ("999+1-1", ["999+0"]),
        ("7", []),
    ],
)
def test_reductions(expression: str, expected: list[str]) -> None:
    assert arithmetic.reductions(expression) == expected


@pytest.mark.parametrize("text", ["", "+", "2+", "*3", "2++3", "2 +3", "(2)", "1234567", "__import__", "2\n"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an expression"):
        arithmetic.evaluate(text)


def test_a_step_that_changes_the_value_is_found() -> None:
    assert arithmetic.check_steps("2+4*5", "=2+20\n=23\nA23") == [True, False]
    assert arithmetic.check_steps("2+4*5", "=2+19\n=21\n=22\nA22") == [False, True, False]
    assert arithmetic.check_steps("2+4*5", "=2+\n=22\nA22") == [False, False]
    assert arithmetic.check_steps("2+4*5", "A22") == []


def test_answers_are_read_from_their_own_line() -> None:
    assert arithmetic.parse_answer("=2+20\n=22\nA22") == 22
    assert arithmetic.parse_answer("A7\nQ1+1\nA2") == 7
    assert arithmetic.parse_answer("=22") is None
    assert arithmetic.parse_answer("A") is None


def test_the_prompt_ends_in_the_open_question() -> None:
    examples = arithmetic.solved_examples(random.Random(3), 2, 1, steps=False)
    prompt = arithmetic.few_shot_prompt(examples, "2+4*5")
    assert re.fullmatch(r"(Q\S+\nA\d+\n){2}Q2\+4\*5\n", prompt)
    steps = arithmetic.solved_examples(random.Random(3), 1, 2, steps=True)
    assert re.fullmatch(r"Q\S+\n=\S+\n=\d+\nA\d+\nQ7\n", arithmetic.few_shot_prompt(steps, "7"))


def test_impossible_wishes_are_refused() -> None:
    with pytest.raises(ValueError, match="not 0"):
        arithmetic.generate_expression(random.Random(0), 0)
    with pytest.raises(ValueError, match="no step"):
        arithmetic.solve("1-2", random.Random(0))
