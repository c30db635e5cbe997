"""Multiple choice: published files, worked examples, options of each style, and answers in natural texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest

from treereason.core import Finish, Problem, Prompt, Thought, UserError
from treereason.tasks.choices import Choices
from treereason.tasks.generators import arithmetic

CAPITALS = ["Lyon", "Nice", "Paris", "Lille"]
MMLU = {"question": "What is the capital of France?", "subject": "geography", "choices": CAPITALS, "answer": 2}
ARC = {
    "id": "Mercury_1",
    "question": "What is the capital of France?",
    "choices": {"text": CAPITALS, "label": ["1", "2", "3", "4"]},
    "answerKey": "3",
}
HELLASWAG = {"ind": 4, "ctx": "She opens the door and", "endings": ["sings.", "goes in.", "is a cat."], "label": "1"}


def write(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def asked(task: Choices, problem: Problem, style: str) -> Prompt:
    prompt = task.prompt(Thought(problem), style)
    assert prompt is not None
    return prompt


@pytest.mark.parametrize(
    ("row", "choices", "target"),
    [
        (MMLU, CAPITALS, "C"),
        (ARC, CAPITALS, "C"),
        (HELLASWAG, HELLASWAG["endings"], "B"),
        ({**MMLU, "answer": "C"}, CAPITALS, "C"),
        ({**MMLU, "answer": "Paris"}, CAPITALS, "C"),
        ({**MMLU, "answer": "2"}, CAPITALS, "C"),
        ({"question": "q", "choices": {"a": "x", "b": "y"}, "answer": "b"}, ["x", "y"], "B"),
    ],
)
def test_published_rows_are_problems(tmp_path: Path, row: dict[str, Any], choices: list[str], target: str) -> None:
    [problem] = Choices(path=write(tmp_path / "a.jsonl", row), examples=0).problems(0)
    assert list(problem.input["choices"].values()) == choices
    assert "".join(problem.input["choices"]) == "ABCD"[: len(choices)]
    assert problem.target == target


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": 4}, "the answer names none of the 4 choices: 4"),
        ({"answer": -1}, "the answer names none of the 4 choices: -1"),
        ({"answer": True}, "the answer names none of the 4 choices"),
        ({"answer": None}, "the answer names none of the 4 choices"),
        ({"answer": "E"}, "the answer names none of the 4 choices"),
        ({"answer": "9" * 5000}, "the answer names none of the 4 choices"),
        ({"choices": ["Paris"]}, "the choices are not 2 to 26 texts"),
        ({"choices": ["x"] * 27}, "the choices are not 2 to 26 texts"),
        ({"choices": ["x", " "]}, "the choices are not 2 to 26 texts"),
        ({"choices": ["x", 2]}, "the choices are not 2 to 26 texts"),
        ({"choices": "ab"}, "the choices are not 2 to 26 texts: 'ab'"),
        ({"choices": {"text": ["x", "y"], "label": ["A"]}}, "1 labels for 2 choices"),
        ({"choices": {"text": ["x", "y"], "label": "AB"}}, "the choices are not 2 to 26 texts"),
        ({"question": ""}, "the question is empty or not text"),
    ],
)
def test_a_bad_row_is_told_with_file_and_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "mine.jsonl", MMLU, {**MMLU, **change})
    with pytest.raises(UserError) as told:
        Choices(path=path, examples=0).problems(0)
    assert f"mine.jsonl:2: {message}" in str(told.value)
    assert "\n" not in str(told.value)


def test_a_row_of_no_form_is_told_with_the_keys_that_are_expected(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r":1: expected question, choices and answer.*; the keys are question, choices$"
    ):
        Choices(path=write(tmp_path / "a.jsonl", {"question": "q", "choices": []})).problems(0)


def test_generated_questions_have_four_numbers_one_of_them_right() -> None:
    task = Choices(limit=40, operations=3)
    problems = task.problems(0)
    assert problems == task.problems(0) != task.problems(1)
    for problem in problems:
        numbers = {letter: int(choice) for letter, choice in problem.input["choices"].items()}
        assert (len(numbers), len(set(numbers.values()))) == (4, 4)
        value = arithmetic.evaluate(problem.input["question"])
        assert [letter for letter, number in numbers.items() if number == value] == [problem.target]
        assert all(number >= 0 and abs(number - value) <= 9 for number in numbers.values())
    assert {problem.target for problem in problems} == set("ABCD")


def test_all_problems_share_the_worked_examples_and_are_none_of_them() -> None:
    task = Choices(limit=30, examples=64)
    prompts = [asked(task, problem, "embedded") for seed in (0, 1) for problem in task.problems(seed)]
    assert len({prompt.shared for prompt in prompts}) == 1
    assert prompts[0].shared.count("Q") == 64
    assert not {problem.input["question"] for problem in task.problems(0)} & {row.question for row in task.worked}


def test_the_shipped_model_is_asked_in_its_own_form() -> None:
    task = Choices(limit=1, examples=1)
    [problem] = task.problems(0)
    prompt, [worked] = asked(task, problem, "embedded"), task.worked
    assert prompt.shared == f"Q{worked.question}\nA{arithmetic.evaluate(worked.question)}\n"
    assert prompt.text == f"Q{problem.input['question']}\n"
    assert task.options(problem, "embedded") == [f"A{choice}" for choice in problem.input["choices"].values()]


@pytest.mark.parametrize(
    ("answer_with", "style", "text", "option"),
    [
        (
            "letter",
            "chat",
            "Question: What is the capital of France?\nA. Lyon\nB. Nice\nC. Paris\nD. Lille\nAnswer:",
            "C",
        ),
        (
            "letter",
            "plain",
            "Question: What is the capital of France?\nA. Lyon\nB. Nice\nC. Paris\nD. Lille\nAnswer:",
            " C",
        ),
        ("text", "chat", "Question: What is the capital of France?\nAnswer:", "Paris"),
        ("text", "plain", "Question: What is the capital of France?\nAnswer:", " Paris"),
        ("ending", "plain", "What is the capital of France?", " Paris"),
    ],
)
def test_what_is_asked_and_written(
    tmp_path: Path, answer_with: Literal["letter", "text", "ending"], style: str, text: str, option: str
) -> None:
    task = Choices(path=write(tmp_path / "a.jsonl", ARC, MMLU), examples=1, answer_with=answer_with, examples_as="text")
    [problem] = task.problems(0)
    prompt = asked(task, problem, style)
    assert prompt.text == text
    assert text + " " * (style == "chat") + option in prompt.shared
    assert task.options(problem, style)[2] == option


def test_examples_as_turns_answer_as_the_model_should(tmp_path: Path) -> None:
    task = Choices(path=write(tmp_path / "a.jsonl", ARC, MMLU), examples=1)
    [(user, model)] = asked(task, task.problems(0)[0], "chat").turns
    assert (user.splitlines()[0], model) == ("Question: What is the capital of France?", "C")


@pytest.mark.parametrize("answer_with", ["letter", "text", "ending"])
@pytest.mark.parametrize("style", ["embedded", "chat", "plain"])
def test_every_option_that_is_written_is_read_as_its_letter(
    answer_with: Literal["letter", "text", "ending"], style: str
) -> None:
    if style == "embedded" and answer_with != "letter":
        return
    task = Choices(limit=5, answer_with=answer_with)
    for problem in task.problems(0):
        prompt = asked(task, problem, style).plain
        texts = task.options(problem, style)
        written = [Thought(problem, (0,), text=text, prompt=prompt, finish=Finish.GIVEN) for text in texts]
        assert [task.parse(thought) for thought in written] == list("ABCD")


PROBLEM = Problem("0", {"question": "Capital?", "choices": dict(zip("ABCD", CAPITALS, strict=True))}, "C")


def parsed(text: str, task: Choices, finish: Finish = Finish.END) -> str | None:
    return task.parse(Thought(PROBLEM, (0,), text=text, prompt="Question: Capital?\nAnswer:", finish=finish))


@pytest.mark.parametrize(
    "text",
    [
        "C",
        " c",
        "(C)",
        "C.",
        "**C**",
        "C. Paris",
        "C) Paris, because it is.",
        "C: Paris",
        "(C) Paris",
        "C because Paris is it.",
        "Paris",
        "Paris.",
        "The answer is C.",
        "The answer is (C) Paris.",
        "The answer is **Paris**.",
        "Lyon is not.\nThe answer is C",
        "Answer: C",
        "**Answer:** C. Paris\n\nHope this helps.",
        r"\boxed{C}",
        "C\n\nIt has been the capital for long.",
        "Lyon? No.\n\nC",
        "Option C",
        "C - Paris",
        "The right option is C.",
        "The correct choice is (C) Paris.",
        "It cannot be Lyon.\n\nThe correct option is: **C**",
    ],
)
def test_the_option_that_a_text_names_is_read(text: str) -> None:
    assert parsed(text, Choices()) == "C"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "E",
        "A or C",
        "A man of Paris",
        "C. Lyon",
        "C? Not sure",
        "Rome",
        "The answer is E.",
        "CC",
        "It is in Paris",
        "The right option is",
        "Option C or D",
        "The right option is E.",
    ],
)
def test_a_text_that_names_none_or_several_has_no_answer(text: str) -> None:
    assert parsed(text, Choices()) is None


@pytest.mark.parametrize(("text", "answer"), [("C", None), ("The answer is C. It", None), ("so \\boxed{C} is", "C")])
def test_what_the_limit_cut_off_is_read_from_a_box_alone(text: str, answer: str | None) -> None:
    assert parsed(text, Choices(), Finish.LENGTH) == answer


def test_a_number_below_nought_is_no_dash_and_number() -> None:
    problem = Problem("0", {"question": "2-7", "choices": {"A": "5", "B": "-5"}}, "B")
    wanted = {"B. -5": "B", "A. -5": None, "B -5": "B", "A - 5": "A", "The right option is B: -5": "B"}
    for text, letter in wanted.items():
        assert Choices().parse(Thought(problem, (0,), text=text, prompt="?", finish=Finish.END)) == letter


def test_an_option_whose_text_is_a_letter_is_meant_where_texts_are_asked_for() -> None:
    problem = Problem("0", {"question": "Which vowel?", "choices": {"A": "B", "B": "A"}}, "B")
    thought = Thought(problem, (0,), text="A", prompt="Which vowel?", finish=Finish.END)
    assert (Choices().parse(thought), Choices(answer_with="text").parse(thought)) == ("A", "B")


def test_an_option_that_is_written_stands_for_itself_whatever_it_says() -> None:
    choices = {"A": "The answer is B.", "B": "B", "C": "None\nA"}
    problem = Problem("0", {"question": "Which?", "choices": choices}, "A")
    written = [Thought(problem, (0,), text=f" {text}", finish=Finish.GIVEN) for text in choices.values()]
    assert [Choices(answer_with="text").parse(thought) for thought in written] == ["A", "B", "C"]


def test_a_text_of_the_shipped_model_without_an_answer_line_names_no_option() -> None:
    problem = Problem("0", {"question": "1+1", "choices": {"A": "None", "B": "2"}}, "B")
    wanted = {"None": None, "=2": None, "A2": "B", "=2\nA2\nA3": "B", "A3": None}
    for text, letter in wanted.items():
        assert Choices().parse(Thought(problem, (0,), text=text, prompt="Q1+1\n", finish=Finish.END)) == letter
    cut = Thought(problem, (0,), text="=2\nA2", prompt="Q1+1\n", finish=Finish.LENGTH)
    assert Choices().parse(cut) is None


def test_words_are_not_for_the_shipped_model(tmp_path: Path) -> None:
    task = Choices(path=write(tmp_path / "a.jsonl", MMLU), examples=0)
    with pytest.raises(UserError, match="the shipped model answers arithmetic"):
        task.prompt(Thought(task.problems(0)[0]), "embedded")
