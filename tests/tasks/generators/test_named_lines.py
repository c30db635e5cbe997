"""Problems of named lines: what a question and its solution look like, and what counts as right."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treereason.tasks.generators import named_lines as lines

QUESTION = "c0=41-7\nc1=c0*2\nc2=90-c1?\nc0"
SOLUTION = "=41-7=34\nc1c0=34*2=68\nc2c1=90-68=22"


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_a_problem_reads_back_and_its_solution_is_right(seed: int, operations: int) -> None:
    made = lines.generate(random.Random(seed), operations)
    assert made == lines.generate(random.Random(seed), operations)
    assert len(made) == operations
    assert lines.parse_question(lines.render_question(made)) == made
    found, solution = lines.values(made), lines.solve(made)
    assert all(0 <= value <= lines.LARGEST for value in found.values())
    assert all(lines.check_lines(made, solution))
    assert lines.parse_answer(made, solution) == found[made[-1].label]
    # Each value but the last is needed once, by a later definition.
    assert sorted(name for definition in made for name in definition.names) == sorted(list(found)[:-1])


def test_labels_count_round_and_all_may_be_taken() -> None:
    made = lines.generate(random.Random(0), lines.MOST_OPERATIONS)
    at = lines.LABELS.index(made[0].label)
    assert [definition.label for definition in made] == [*lines.LABELS[at:], *lines.LABELS[:at]]
    for operations in (0, lines.MOST_OPERATIONS + 1):
        with pytest.raises(ValueError, match=f"named lines have 1 to 130 operations, not {operations}"):
            lines.generate(random.Random(0), operations)


def test_a_question_is_definitions_and_the_first_label() -> None:
    made = lines.parse_question(QUESTION)
    assert [definition.names for definition in made] == [(), ("c0",), ("c1",)]
    assert lines.values(made) == {"c0": 34, "c1": 68, "c2": 22}
    assert lines.solve(made) == SOLUTION


@pytest.mark.parametrize("text", ["", "c0", "c0=41-7?\nc1", "c0=41-7\nc0", "c0=c9+1?\nc0", "c0=4/2?\nc0", "c0=4+2?"])
def test_another_text_is_no_question(text: str) -> None:
    with pytest.raises(ValueError, match="not a question of named lines"):
        lines.parse_question(text)


@pytest.mark.parametrize(
    ("solution", "verdicts", "answer"),
    [
        (SOLUTION, [True, True, True], 22),
        ("=41-7=35\nc1c0=35*2=70\nc2c1=90-70=20", [False, False, False], 20),
        ("=41-7=34\nc1=34*2=68", [True, False], None),  # a name is lacking, and the last line
        ("=41-7=34\nc1c0=34*2=68\nc2c1=90-68=22\nc3", [True, True, True, False], None),
        ("=41-7=34\nc1c0=34*2=68\nc2c1=90-68=", [True, True, False], None),
    ],
)
def test_a_line_is_right_in_names_numbers_and_arithmetic(
    solution: str, verdicts: list[bool], answer: int | None
) -> None:
    made = lines.parse_question(QUESTION)
    assert lines.check_lines(made, solution) == verdicts
    assert lines.parse_answer(made, solution) == answer
