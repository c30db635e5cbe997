"""Countdown: the exact solver against every expression, expressions against Python's own, steps against the rules."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations, combinations_with_replacement

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treereason.tasks.generators import countdown


def every_value(numbers: Sequence[int]) -> set[Fraction]:
    """All values of expressions over all the numbers: each is an operation on two of which every number is in one."""
    if len(numbers) == 1:
        return {Fraction(numbers[0])}
    found: set[Fraction] = set()
    for size in range(1, len(numbers)):
        for places in combinations(range(len(numbers)), size):
            left = every_value([numbers[i] for i in places])
            right = every_value([number for i, number in enumerate(numbers) if i not in places])
            for a in left:
                for b in right:
                    found |= {a + b, a - b, a * b} | ({a / b} if b else set())
    return found


@given(st.lists(st.integers(0, 13), min_size=1, max_size=3), st.integers(1, 40))
def test_the_solver_finds_what_some_expression_makes(numbers: list[int], target: int) -> None:
    values = every_value(numbers)
    assert countdown.reaches(numbers, target) == (target in values)
    for value in sorted(values)[:: max(1, len(values) // 5)]:
        assert countdown.reaches(numbers, value)


@pytest.mark.parametrize("numbers", [[1, 3, 4, 6], [3, 3, 8, 8], [1, 1, 1, 1], [5, 5, 5, 1], [13, 13, 13, 13]])
def test_four_numbers_too_and_by_fractions_where_they_are_needed(numbers: list[int]) -> None:
    assert countdown.reaches(numbers, 24) == (24 in every_value(numbers))


@pytest.mark.slow
def test_1362_of_the_1820_hands_of_four_cards_make_24() -> None:
    hands = list(combinations_with_replacement(range(1, 14), 4))
    assert (len(hands), sum(countdown.reaches(hand, 24) for hand in hands)) == (1820, 1362)


@pytest.mark.parametrize("target", [1, 24, 97, 99])
@pytest.mark.parametrize("count", [3, 4, 5])
def test_generated_numbers_reach_the_target_and_depend_on_the_generator_alone(count: int, target: int) -> None:
    numbers = countdown.generate_numbers(random.Random(5), count, target)
    assert len(numbers) == count
    assert set(numbers) <= set(range(1, 14))
    assert countdown.reaches(numbers, target)
    assert countdown.generate_numbers(random.Random(5), count, target) == numbers


def test_three_numbers_reach_every_target_up_to_99() -> None:
    for target in range(1, 100):
        assert len(countdown.generate_numbers(random.Random(0), 3, target)) == 3


EXPRESSIONS = st.recursive(
    st.integers(0, 99).map(str),
    lambda inner: st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda parts: f"({' '.join(parts)})"),
    max_leaves=6,
)


@given(EXPRESSIONS)
def test_an_expression_has_the_value_that_exact_arithmetic_gives_it(text: str) -> None:
    try:
        expected = eval(re.sub(r"\d+", r"Fraction(\g<0>)", text), {"Fraction": Fraction})
    except ZeroDivisionError:
        with pytest.raises(ValueError, match="/0 is no number"):
            countdown.evaluate(text)
        return
    value, numbers = countdown.evaluate(text)
    assert value == expected
    assert numbers == [int(number) for number in re.findall(r"\d+", text)]


@pytest.mark.parametrize(
    "text",
    ["", "4 5", "2**3", "4//2", "-(3)", "-3", "(4)(5)", "1/0", "1/(2-2)", "((((", "1.5+2", "007", "a+1", "1,2", "()",
     "4\n+5", "+".join("1" * 150), "(" * 100 + "1" + ")" * 100],
)  # fmt: skip
def test_what_is_no_expression_of_numbers_and_four_operations_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not an expression|/0 is no number"):
        countdown.evaluate(text)


@given(st.one_of(st.text(max_size=300), st.text("0123456789()+-*/ ", max_size=250)))
def test_no_text_breaks_what_reads_it(text: str) -> None:
    assert countdown.makes(text, [4, 5, 6, 10], 24) in (True, False)
    state = [(Fraction(number), str(number)) for number in (4, 5, 6, 10)]
    assert countdown.after_step(state, text) is None or len(state) == 4
    countdown.next_line(state[:1], text)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("(10 - 4) * (9 - 5)", True),
        ("(9-5)*(10-4)", True),
        ("4 * 5 + 4", False),  # 9 and 10 are not used
        ("(10 - 4) * (9 - 5) * 1", False),
        ("(10 - 4) * (9 - 5) + 4 - 4", False),
        ("10 + 9 + 5 - 4", False),  # 20
    ],
)
def test_an_answer_uses_each_number_once_and_makes_the_target(text: str, right: bool) -> None:
    assert countdown.makes(text, [4, 9, 10, 5], 24) is right


def after(line: str, numbers: Sequence[int] = (4, 5, 6, 10)) -> list[tuple[Fraction, str]] | None:
    return countdown.after_step([(Fraction(number), str(number)) for number in numbers], line)


@pytest.mark.parametrize(
    "line",
    ["4 * 5 = 20 (left: 6 10 20)", "4*5=20,6 10 20", "4 × 5 = 20 (left: 20 10 6)", "- 4 * 5 = 20 (left: 6 10 20).",
     "2. 4 * 5 = 20 (left: 6 10 20) sure", "5 * 4 = 20 (left: 6 10 20)"],
)  # fmt: skip
def test_a_step_is_read_in_its_long_and_its_short_form(line: str) -> None:
    left = after(line)
    assert left is not None
    assert sorted(value for value, _ in left) == [6, 10, 20]
    assert left[-1][1] in ("(4 * 5)", "(5 * 4)")


@pytest.mark.parametrize(
    "line",
    ["", "4 * 5", "4 * 5 = 20", "4 * 5 = 21 (left: 6 10 21)", "4 * 5 = 20 (left: 6 10)", "4 * 5 = 20 (left: 6 10 20 5)",
     "4 * 4 = 16 (left: 5 6 10 16)", "7 * 5 = 35 (left: 4 6 10 35)", "4*5=20,6 10 200", "4*5=20,6 10 20x", "4*5=20,-",
     "4 / 0 = 0 (left: 5 6 10)", "4 * 5 = 1/0 (left: 1/0)"],
)  # fmt: skip
def test_a_line_that_breaks_the_rules_is_no_step(line: str) -> None:
    assert after(line) is None


def test_fractions_are_written_as_such_or_with_a_point() -> None:
    assert after("10 / 4 = 5/2 (left: 5/2 5 6)") == after("10 / 4 = 2.5 (left: 5 2.5 6)")
    assert after("6 / 1/4 = 24 (left: 24)", (6,)) is None
    text = "3 / 4 = 3/4 (left: 1 3/4 6)\n\n1 - 3/4 = 1/4 (left: 1/4 6)\n6 / 1/4 = 24 (left: 24)"
    assert countdown.after_steps([1, 3, 4, 6], text) == [(Fraction(24), "(6 / (1 - (3 / 4)))")]
    assert countdown.after_steps([2, 2], "2 / 2 = 1 (left: 1)") == [(Fraction(1), "(2 / 2)")]


@given(st.integers(0, 10_000))
def test_steps_compose_the_expression_of_their_value(seed: int) -> None:
    rng = random.Random(seed)
    numbers = [rng.randint(1, 13) for _ in range(4)]
    state, text = [(Fraction(number), str(number)) for number in numbers], ""
    while len(state) > 1:
        rng.shuffle(state)
        (a, _), (b, _), *rest = state
        sign = rng.choice("+-*/" if b else "+-*")
        made = {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else a}[sign]
        line = f"{a} {sign} {b} = {made} (left: {' '.join(str(value) for value, _ in [*rest, (made, '')])})"
        text += line + "\n"
        found = countdown.after_steps(numbers, text)
        if found is None:  # the numbers have grown too long to be read
            assert any(len(part) > 6 for part in line.replace("/", " ").split())
            return
        state = found
    value, used = countdown.evaluate(state[0][1])
    assert (value, sorted(used)) == (state[0][0], sorted(numbers))
