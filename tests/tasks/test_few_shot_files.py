"""Few-shot questions from a file: examples first, answers as numbers, faults by their line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tasks.test_few_shot import QUESTION, asked
from treereason.core import Problem, Thought, UserError
from treereason.tasks.few_shot import FewShot

ROWS = (
    '{"question": "1+1", "answer": 2, "rationale": "=2"}\n'
    '{"question": "2+2", "answer": "=4\\n#### 4"}\n'
    '\n{"question": "3*3", "answer": "9"}\n'
)


def test_a_file_gives_examples_first_and_then_problems(tmp_path: Path) -> None:
    path = tmp_path / "sums.jsonl"
    path.write_text(ROWS)
    task = FewShot(path=str(path), examples=2)
    assert task.problems(0) == task.problems(1) == [Problem("0", "3*3", 9)]
    prompt = asked(task, Thought(task.problems(0)[0]))
    assert prompt.shared + prompt.text == "Q1+1\n=2\nA2\nQ2+2\n=4\nA4\nQ3*3\n"
    plain = asked(task, Thought(task.problems(0)[0]), "plain")
    assert "Question: 2+2\nSteps:\n=4\nThe answer is 4.\n" in plain.shared
    assert plain.text == "Question: 3*3\nSteps:\n"
    chat = asked(task, Thought(task.problems(0)[0]), "chat")
    assert (chat.shared + chat.text).startswith("Question: 3*3\n\n")
    assert chat.turns[-1] == (chat.turns[-2][0].replace("1+1", "2+2"), "=4\nThe answer is 4.")
    assert len(FewShot(path=str(path), examples=0, limit=2).problems(0)) == 2


def answers_of(tmp_path: Path, *answers: str) -> list[object]:
    """The targets of a file whose answers are these JSON values."""
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(f'{{"question": "q", "answer": {answer}}}\n' for answer in answers))
    return [problem.target for problem in FewShot(path=str(path), examples=0).problems(0)]


@pytest.mark.parametrize("answer", ["0.00005", "5e16", '"5 1/2"', '"5 000"', '"5 / 8"', '"5%"', '"5 million"', '"5-6"'])
def test_a_part_of_the_number_in_the_file_is_not_right(tmp_path: Path, answer: str) -> None:
    [target] = answers_of(tmp_path, answer)
    task = FewShot()
    assert not task.solved(Problem("0", "q", target), task.parse(Thought(QUESTION, (0,), text="The answer is 5.")))


def test_equal_numbers_in_a_file_are_equal(tmp_path: Path) -> None:
    spelled = ['"1.5e3"', "1500", "1.5E+3", '"1,500.00"', '"#### 1 500"']
    assert answers_of(tmp_path, *spelled) == [1500] * 5
    assert answers_of(tmp_path, '"+5"', '"\u22125"', '"-$5"', '"(5)"', "5.00") == [5, -5, -5, 5, 5]
    assert answers_of(tmp_path, "0.1", "123456789012345678901.5") == ["0.1", "123456789012345678901.5"]
    assert answers_of(tmp_path, "9" * 5000) == answers_of(tmp_path, f'"{"9" * 5000}"') == ["9" * 5000]


def test_words_are_for_chat_models_only(tmp_path: Path) -> None:
    path = tmp_path / "words.jsonl"
    path.write_text('{"question": "What is {two} and two?", "answer": "Four"}\n')
    task = FewShot(path=str(path), examples=0)
    (problem,) = task.problems(0)
    assert "What is {two} and two?" in asked(task, Thought(problem), "chat").text
    assert task.solved(problem, task.parse(Thought(problem, (0,), text="The answer is four.")))
    with pytest.raises(UserError, match="the shipped model answers arithmetic"):
        task.prompt(Thought(problem), "embedded")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROWS + "{nonsense\n", r"sums\.jsonl:5: not JSON"),
        (ROWS + "[1]\n", r":5: not a JSON object: \[1\]"),
        (
            ROWS + '{"question": "1+1"}\n',
            r":5: expected question and answer, or problem and .*; the keys are question$",
        ),
        (ROWS + '{"question": 3, "answer": 1}\n', r":5: the question is empty or not text"),
        (ROWS + '{"question": " ", "answer": 1}\n', r":5: the question is empty or not text"),
        (ROWS + '{"question": "1", "answer": null}\n', r":5: the answer is neither"),
        (ROWS + '{"question": "1", "answer": true}\n', r":5: the answer is neither"),
        (ROWS + '{"question": "1", "answer": ""}\n', r":5: the answer is empty"),
        (ROWS + '{"question": "1", "answer": 1, "rationale": 2}\n', r":5: the rationale is not text"),
        (ROWS + "[" * 100_000 + "\n", r":5: not JSON"),
        (ROWS + '{"question": "1", "answer": NaN}\n', r":5: not JSON: NaN is not a value of JSON"),
        (ROWS + '{"question": "1", "answer": -Infinity}\n', r":5: not JSON: -Infinity is not a value of JSON"),
        (ROWS + '{"question": "1", "answer": 1e999}\n', r":5: not JSON: '1e999' is no number"),
        (ROWS + '{"question": "1", "answer": ' + "9" * 20_000 + "}\n", r":5: not JSON: a number of 20,000 digits"),
        (ROWS, r"3 questions leave no problem after 8 worked examples"),
        ("", r"0 questions leave no problem"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "sums.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        FewShot(path=str(path)).problems(0)
    assert "\n" not in str(caught.value)


def test_a_missing_file() -> None:
    with pytest.raises(UserError, match=r"no such file: .*gone\.jsonl"):
        FewShot(path="gone.jsonl").problems(0)
