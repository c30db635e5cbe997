"""Answers as models that chat write them: each natural form is read, and what is next to it is not."""

from __future__ import annotations

import pytest

from treereason.core import Finish, Problem, Thought
from treereason.tasks.answers import final_answer
from treereason.tasks.counts import read_counts
from treereason.tasks.few_shot import FewShot
from treereason.tasks.lists import read_list
from treereason.tasks.steps_hold import steps_hold
from treereason.tasks.tagged import last_tagged


@pytest.mark.parametrize(
    ("read", "not_read"),
    [
        ("307", "307 or so"),
        ("55.", "55. 56."),
        ("**307**", "**307** + 1"),
        (r"\boxed{307}", r"\boxed{307"),
        ("$$\n307\n$$", "$$\n307 + x\n$$"),
        ("\\[\n307\n\\]", "\\[\n307 \\text{ or } 308\n\\]"),
        ("```\n307\n```", "```\n307\n308 + 1\n```"),
        ("```text\n307\n```", "```307 and more```"),
        ("Sure! Here is the answer:\n307", "Sure! Here is the answer:\n307?"),
        ("Here is the answer: 307", "Here is the answer: 307 minus 1"),
        ("Here is your final answer: **307**", "Here is your list: 307"),
        ("The result is 307.", "The result is 307 plus 1."),
        ("First we add.\nThe sum is 307", "The sum is 307\nThen we double it."),
        ("So the total is 307 apples.", "The total is about 307."),
        ("Therefore, 307.", "Therefore, 307 is wrong."),
        ("It's 307.", "It's not 307."),
        ("Result: 307", "Step 2: 307"),
        ("Answer: 307\nI hope this helps!", "My answer: 307"),
    ],
)
def test_a_number_in_a_natural_answer_is_read_whole_or_not_at_all(read: str, not_read: str) -> None:
    task, problem = FewShot(), Problem("0", "300+7", 307)
    answers = [
        task.parse(Thought(problem, (0,), text=text, prompt="?", finish=Finish.END)) for text in (read, not_read)
    ]
    assert answers[0] in (307, 55)
    assert answers[1] != answers[0]


def test_a_lead_in_is_looked_for_in_a_last_line_alone() -> None:
    assert final_answer("The sum is 5", ended=False) is None
    assert final_answer("The sum is 5", cut=True) is None
    assert final_answer("The sum is 5\nso far") is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("969 - 79 = 890", 890),
        ("969-79=890.", 890),
        ("**969 - 79 = 890**", 890),
        ("The answer is 969-79 = 890.", 890),
        ("Answer: 969 - 79 = 890", 890),
        ("The answer is 900 - 10 = 890 miles.", 890),
        ("969 - 78 = 891", None),
        ("79 = 890", None),
        ("969-79 = 880+10", None),
        ("969-79 = 890\nand so on", None),
        ("So 969-79 = 890", None),
    ],
)
def test_what_the_whole_question_equals_is_its_answer(text: str, answer: int | None) -> None:
    problem = Problem("0", "969-79", 890)
    thought = Thought(problem, (0,), text=text, prompt="?", finish=Finish.END)
    assert FewShot().parse(thought) == answer
    thought.finish = Finish.STOP
    assert FewShot(stepwise=True).parse(thought) == (answer if "nswer" in text else None)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("The sorted list is 0, 1, and 3.", [0, 1, 3]),
        ("Sure! Here is the sorted list: 0, 1, 3", [0, 1, 3]),
        ("Sure! Here is the list:\n\n0, 1, 3", [0, 1, 3]),
        ("Ordered: 0, 1 and 3", [0, 1, 3]),
        ("**0, 1, 3**", [0, 1, 3]),
        (r"\boxed{0, 1, 3}", [0, 1, 3]),
        (r"\[0, 1, 3\]", [0, 1, 3]),
        (r"$\left[0, 1, 3\right]$", [0, 1, 3]),
        ("```\n0, 1, 3\n```", [0, 1, 3]),
        ("```python\n[0, 1, 3]\n```", [0, 1, 3]),
        ("Here it is:\n- 0\n- 1\n- 3", [0, 1, 3]),
        ("0\n1\n3", [0, 1, 3]),
        ("The list is not 0, 1, 3.", None),
        ("The list is 0, 1, 3 or 0, 3, 1.", None),
        ("The list is 0, 1, 3, and so on.", None),
        ("The first 2 are: 0, 1, 3", None),
        ("The list is 3.", None),
        ("0\n- 1\n- 3", None),
        ("1. 0\n2. 1\n3. 3", None),
        ("0\n1.5\n3", None),
        ("It has 3 numbers: one, two, three", None),
    ],
)
def test_a_list_in_prose_is_read_whole_or_not_at_all(text: str, numbers: list[int] | None) -> None:
    assert read_list(text) == numbers
    if "[" not in text:
        assert read_list(text, cut=True) is None


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("{'Peru': 2, 'Chile': 1}", {"Peru": 2, "Chile": 1}),
        ('Sure! Here are the counts:\n```json\n{"Peru": 2}\n```', {"Peru": 2}),
        ("{'Peru': two}", None),
        ("{'Peru': 2, \"Chile\": 1}", None),
        ("{'Peru': '2'}", None),
    ],
)
def test_an_object_with_single_quotes_is_read_and_no_other_python(text: str, counts: dict[str, int] | None) -> None:
    assert read_counts(text) == counts


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("Sure! Here is the merged document:\n\na; b;", "a; b;"),
        ("```\na; b;\n```", "a; b;"),
        ("<merged>\n```text\na; b;\n```\n</merged>", "a; b;"),
        ("<merged>\na; b;\n</document 2>", "a; b;"),
        ("Article 1:\na; b;", "Article 1:\na; b;"),
        ("Here we agree; a;\nb;", "Here we agree; a;\nb;"),
        ("<merged>\na </b> c;", "a </b> c;"),
        ("Use `x`; then ```y```", "Use `x`; then ```y```"),
    ],
)
def test_what_a_model_puts_around_a_document_is_no_part_of_it(text: str, inside: str) -> None:
    assert last_tagged(text, "merged") == inside


def test_a_document_that_another_tag_closes_may_be_cut() -> None:
    assert last_tagged("<merged>\na;\n</document 2>", "merged", cut=True) is None
    assert last_tagged("<merged>\na;\n</Merged>", "merged", cut=True) == "a;"


@pytest.mark.parametrize(
    ("text", "value", "final"),
    [
        ("4*5 = 20\n2+20 = 22\nThe answer is 22.", 1.0, True),
        ("2 + 4 × 5 = 2 + 20 = 22\nThe answer is 22.", 1.0, True),
        ("4*5 = 21\n2+20 = 22\nThe answer is 22.", 2 / 3, False),
        ("4*5 = 20\nThe answer is 24.", 0.5, False),
        ("4*5 = 20", 1.0, False),
        ("The answer is 22.", 1.0, True),
        ("We begin.", 0.0, False),
        ("1/2 + 4*5 = 21", 0.0, False),  # no part of an equation is a step
        ("4*5 = 20.5", 0.0, False),
    ],
)
def test_equations_in_prose_are_steps(text: str, value: float, final: bool) -> None:
    problem = Problem("0", "2+4*5", 22)
    thought = Thought(problem, (0,), (Thought(problem),), text, prompt="?", finish=Finish.END)
    thought.answer = FewShot().parse(thought)
    score = steps_hold(thought)
    assert score.value == pytest.approx(value)
    assert score.final == final
