"""Word problems: published files, examples as text and as turns, steps, answers in natural texts."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import run_search
from treereason.config.scorers import load_scorer, scorer_reference
from treereason.core import Finish, Problem, Prompt, Score, Thought, UserError
from treereason.search import BestOfN
from treereason.tasks.word_problems import WordProblems

GSM8K = {
    "question": "Natalia sold 48 clips in April and half as many in May. How many in all?",
    "answer": "In May she sold 48/2 = <<48/2=24>>24 clips.\nIn all 48+24 = <<48+24=72>>72 clips.\n#### 72",
}
MATH = {
    "problem": r"What is $\frac{1}{2}$ of $\sqrt{8}$?",
    "solution": r"We have $\sqrt{8} = 2\sqrt{2}$, so half of it is $\boxed{\sqrt{2}}$.",
    "level": "Level 2",
    "type": "Algebra",
}
MATH_500 = {**MATH, "answer": r"\sqrt{2}", "unique_id": "test/algebra/1.json"}


def write(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def asked(task: WordProblems, thought: Thought, style: str = "chat") -> Prompt:
    prompt = task.prompt(thought, style)
    assert prompt is not None
    return prompt


@pytest.mark.parametrize(
    ("row", "question", "target"),
    [
        (GSM8K, GSM8K["question"], 72),
        (MATH, MATH["problem"], r"\sqrt{2}"),
        (MATH_500, MATH["problem"], r"\sqrt{2}"),
        ({"problem": "How many?", "solution": r"$x = 5$, so $\boxed 5$ it is."}, "How many?", 5),
        ({"problem": "How many?", "answer": "12"}, "How many?", 12),
        ({"question": "How many?", "answer": 1.50}, "How many?", "1.5"),
    ],
)
def test_published_rows_are_problems(tmp_path: Path, row: dict[str, Any], question: str, target: int | str) -> None:
    [problem] = WordProblems(path=write(tmp_path / "test.jsonl", row)).problems(0)
    assert problem == Problem("0", question, target)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "1+1?", "answer": 2}, "expected question and answer, or problem and solution; the keys are text, an"),
        ({"question": "1+1?"}, "expected question and answer, or problem and solution; the keys are question"),
        ({"question": "1+1?", "solution": "2"}, "expected question and answer, or problem and solution; the keys are"),
        ({"problem": "1+1?"}, "expected question and answer, or problem and solution; the keys are problem"),
        ({}, "expected question and answer, or problem and solution; the keys are none"),
        ({"problem": "1+1?", "solution": "It is 2."}, r"the solution has no \boxed{answer}"),
        ({"problem": "1+1?", "solution": r"It is \boxed{2"}, r"the solution has no \boxed{answer}"),
        ({"problem": "1+1?", "solution": 2}, "the solution is not text: 2"),
        ({"problem": " ", "solution": r"\boxed{2}"}, "the question is empty"),
        ({"question": "1+1?", "answer": "#### "}, "the answer is empty"),
    ],
)
def test_a_row_of_neither_form_is_told_with_file_line_and_keys(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "mine.jsonl", GSM8K, row)
    with pytest.raises(UserError) as told:
        WordProblems(path=path).problems(0)
    assert f"mine.jsonl:2: {message}" in str(told.value)
    assert "\n" not in str(told.value)


def test_without_a_file_it_says_where_the_published_ones_are() -> None:
    with pytest.raises(UserError, match=r"needs a file: task.path=FILE.*openai/grade-school-math.*MATH-500"):
        WordProblems().problems(0)


def test_examples_come_from_a_file_of_their_own(tmp_path: Path) -> None:
    path, train = write(tmp_path / "test.jsonl", MATH), write(tmp_path / "train.jsonl", GSM8K, MATH_500, GSM8K)
    task = WordProblems(path=path, examples_path=train, examples=2, examples_as="text")
    [problem] = task.problems(0)
    prompt = asked(task, Thought(problem))
    assert prompt.text == f"Problem: {MATH['problem']}"
    assert "48/2 = 24 clips.\nIn all 48+24 = 72 clips.\nThe answer is 72.\n\n" in prompt.shared
    assert prompt.shared.endswith(MATH["solution"] + "\nThe answer is \\sqrt{2}.\n\n")
    assert (len(prompt.turns), prompt.system) == (1, "")  # the prompt's own


def test_without_one_they_are_the_first_lines_of_the_problems_file(tmp_path: Path) -> None:
    task = WordProblems(path=write(tmp_path / "test.jsonl", GSM8K, MATH), examples=1)
    assert [problem.input for problem in task.problems(0)] == [MATH["problem"]]
    assert [example.answer for example in task.worked] == ["72"]


@pytest.mark.parametrize(
    ("examples", "message"), [(0, "of no use with task.examples=0"), (3, "2 examples, not 3: see task.examples")]
)
def test_a_number_of_examples_that_does_not_fit_their_file_is_told(tmp_path: Path, examples: int, message: str) -> None:
    path = write(tmp_path / "a.jsonl", GSM8K, MATH)
    with pytest.raises(UserError, match=message):
        WordProblems(path=path, examples_path=path, examples=examples).problems(0)


def test_examples_as_turns_are_earlier_turns_of_a_chat_and_text_elsewhere(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", GSM8K, MATH)
    task = WordProblems(path=path, examples=1, examples_as="turns")
    [problem] = task.problems(0)
    prompt = asked(task, Thought(problem))
    [_, (user, model)] = prompt.turns
    assert prompt.shared + prompt.text == user.replace(GSM8K["question"], MATH["problem"])  # all turns ask alike
    assert model.endswith("72 clips.\nThe answer is 72.")
    assert GSM8K["question"] not in prompt.shared + prompt.text
    plain = asked(task, Thought(problem), "plain")
    assert plain == asked(WordProblems(path=path, examples=1), Thought(problem), "plain")
    assert GSM8K["question"] in plain.shared


def test_turns_that_a_users_example_lacks_are_told(tmp_path: Path) -> None:
    prompts = tmp_path / "mine.yaml"
    prompts.write_text('chat: {example: {text: "{question} {answer}"}}')
    path = write(tmp_path / "a.jsonl", GSM8K, MATH)
    task = WordProblems(path=path, examples=1, examples_as="turns", prompts=str(prompts))
    with pytest.raises(UserError, match="the prompt 'example' has no turns; see"):
        task.prompt(Thought(task.problems(0)[0]), "chat")


def test_a_users_system_text_and_turns_reach_the_model(tmp_path: Path) -> None:
    prompts = tmp_path / "mine.yaml"
    prompts.write_text('chat: {solve: {text: "{question}", system: Be brief., turns: [[hello, "{question}!"]]}}')
    task = WordProblems(path=write(tmp_path / "a.jsonl", MATH), prompts=str(prompts))
    prompt = asked(task, Thought(task.problems(0)[0]))
    assert (prompt.system, prompt.turns, prompt.text) == (
        "Be brief.",
        (("hello", MATH["problem"] + "!"),),
        MATH["problem"],
    )


PROBLEM = Problem("0", "How many?", 307)


def below(text: str, finish: Finish = Finish.END) -> Thought:
    return Thought(PROBLEM, (0,), (Thought(PROBLEM),), text, prompt="Problem: How many?\nSolution:\n", finish=finish)


@pytest.mark.parametrize(
    "text",
    [
        "307",
        "307.",
        "**307**",
        "Answer: 307",
        "**Answer:** 307",
        "**Answer**: 307.",
        "**Final answer: 307**",
        "### Answer:\n\n307\n",
        "Answer: 307\n\nTell me if you have questions.",
        r"\boxed{307}",
        r"\[\boxed{307}\]",
        r"so $\boxed 307$",
        "The answer is 307.",
        "300 + 7 = 307\n#### 307",
        "Answer: let us see.\nThe answer is 307.",
        "Answer: let us see.\n\\boxed{307} it is.",
        "First 300.\nThen 7 more:\n\n307",
        "$307",
        "307 apples",
        "The answer is 300 + 7 = 307 apples.",
        "The answer is $300 + $7 = $307.",
        "The answer is 3 × 100 + 7 = 307.",
    ],
)
def test_answers_in_natural_texts_are_read(text: str) -> None:
    assert WordProblems().parse(below(text)) == 307


@pytest.mark.parametrize(
    "text",
    ["", "She has 307 apples left.", "300 + 7 = 307", "= 307", "307\nis wrong", "307?", "Answer:", "#### ", "30 7 5"],
)
def test_what_states_no_answer_is_none(text: str) -> None:
    assert WordProblems().parse(below(text)) is None


@pytest.mark.parametrize("stated", ["60", "60%", "60 percent", r"\boxed{60\%}", "60% of the students"])
def test_where_a_percentage_is_asked_for_its_sign_says_nothing_more(tmp_path: Path, stated: str) -> None:
    rows = [
        {"question": "What percentage of the students dance?", "answer": "12/20 = 60%\n#### 60"},
        {"problem": "Express 3/5 as a percent.", "solution": r"It is $\boxed{60\%}$."},
    ]
    for problem in WordProblems(path=write(tmp_path / "a.jsonl", *rows)).problems(0):
        assert problem.target == 60
        assert WordProblems().parse(Thought(problem, (0,), text=f"The answer is {stated}.", finish=Finish.END)) == 60
    assert WordProblems().parse(below("The answer is 60%.")) == "0.6"


@pytest.mark.parametrize("text", ["307", "Answer: 307", "#### 307", "The answer is 307"])
def test_a_number_that_the_limit_may_have_cut_is_no_answer(text: str) -> None:
    assert WordProblems().parse(below(text, Finish.LENGTH)) is None


@pytest.mark.parametrize(("step", "stop"), [("line", "\n"), ("paragraph", "\n\n")])
def test_a_step_is_a_line_or_a_paragraph(tmp_path: Path, step: Any, stop: str) -> None:
    task = WordProblems(path=write(tmp_path / "a.jsonl", GSM8K), stepwise=True, step=step, max_tokens=99)
    [problem] = task.problems(0)
    first = asked(task, Thought(problem))
    assert (first.stop, first.appended, first.max_tokens) == ((stop,), False, 99)
    middle = Thought(problem, (0,), (Thought(problem),), "In May 24.", finish=Finish.STOP)
    following = asked(task, middle)
    assert (following.text, following.stop, following.appended, following.max_tokens) == ("", (stop,), True, 99)


def test_a_bare_number_ends_a_solution_but_not_a_step_behind_which_more_may_come() -> None:
    task = WordProblems(stepwise=True)
    assert task.parse(below("307", Finish.STOP)) is None
    assert task.prompt(below("307", Finish.STOP), "chat") is not None
    assert task.parse(below("307", Finish.END)) == 307
    assert task.parse(below("Answer: 307", Finish.STOP)) == 307
    assert WordProblems().parse(below("307", Finish.STOP)) == 307


def test_the_shipped_model_is_told_to_be_of_no_use_for_words(tmp_path: Path) -> None:
    task = WordProblems(path=write(tmp_path / "a.jsonl", GSM8K))
    with pytest.raises(
        UserError, match="no prompts for models of style 'embedded', only for: chat, plain; take anothe"
    ):
        task.prompt(Thought(task.problems(0)[0]), "embedded")


def test_a_search_solves_a_published_problem(tmp_path: Path) -> None:
    task = WordProblems(path=write(tmp_path / "a.jsonl", GSM8K))
    scorer = load_scorer(scorer_reference(None, task))
    texts = ["24 clips.\nThe answer is 24.", "24 + 48 = 72\n#### 72"]
    outcome = run_search(BestOfN(n=2), lambda path: texts[path[-1]], task, scorer, problems=task.problems(0))
    assert (outcome.done.solved, outcome.done.answer, outcome.done.best) == (True, 72, (1,))


def test_math_equal_without_its_package_is_refused_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treereason.config.scorers.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"needs math_verify: pip install 'treereason\[math\]'"):
        load_scorer(scorer_reference("math_equal", WordProblems()))


@pytest.mark.skipif(importlib.util.find_spec("math_verify") is None, reason="math-verify is optional")
def test_math_equal_finds_another_spelling_right(tmp_path: Path) -> None:
    task = WordProblems(path=write(tmp_path / "a.jsonl", MATH))
    [problem] = task.problems(0)
    scorer = load_scorer(scorer_reference("math_equal", task))()
    scores = []
    for text in (r"So \boxed{\frac{\sqrt{8}}{2}}.", r"So \boxed{\sqrt{3}}."):
        thought = Thought(problem, (0,), text=text)
        thought.answer = task.parse(thought)
        scores.append(scorer(thought))
    assert scores == [Score(1.0, final=True), Score(0.0)]
