"""Few-shot questions: formats, examples shared by a run, single steps, answers, scorers."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from treereason.core import Finish, Problem, Prompt, Score, Task, Thought
from treereason.tasks.base import exact_match
from treereason.tasks.few_shot import SCORERS, FewShot
from treereason.tasks.generators import arithmetic
from treereason.tasks.steps_hold import steps_hold


def asked(task: FewShot, thought: Thought, style: str = "embedded") -> Prompt:
    prompt = task.prompt(thought, style)
    assert prompt is not None
    return prompt


def chain(task: FewShot, problem: Problem, *texts: str) -> Thought:
    thought = Thought(problem)
    for text in texts:
        thought = Thought(problem, (*thought.path, 0), (thought,), text)
        thought.answer = task.parse(thought)
    return thought


QUESTION = Problem("0", "2+4*5", 22)


def test_it_is_a_task_with_named_scorers() -> None:
    task: Task = FewShot()
    assert task.scorer in SCORERS
    assert exact_match.oracle is True  # type: ignore[attr-defined]
    assert steps_hold.oracle is True  # type: ignore[attr-defined]


@pytest.mark.parametrize("examples", [0, 1, 8])
def test_the_embedded_prompt_is_that_of_the_shipped_model(examples: int) -> None:
    task = FewShot(examples=examples, operations=3)
    worked = [(each.question, each.rationale + f"A{each.answer}") for each in task.worked]
    prompt = asked(task, Thought(QUESTION))
    assert prompt.shared + prompt.text == arithmetic.few_shot_prompt(worked, "2+4*5")
    assert prompt.text == "Q2+4*5\n"
    assert prompt.shared.count("Q") == examples
    assert not prompt.appended
    for question, solution in worked:
        assert arithmetic.check_steps(question, solution) == [True] * 3
        assert arithmetic.parse_answer(solution) == arithmetic.evaluate(question)


@pytest.mark.parametrize("style", ["embedded", "chat", "plain"])
def test_all_problems_and_seeds_share_the_leading_text(style: str) -> None:
    task = FewShot(limit=3)
    prompts = [asked(task, Thought(problem), style) for seed in (0, 1) for problem in task.problems(seed)]
    assert len({(prompt.shared, prompt.turns) for prompt in prompts}) == 1
    assert len({prompt.text for prompt in prompts}) == 6
    assert asked(FewShot(limit=3), Thought(QUESTION), style).shared == prompts[0].shared
    other = asked(FewShot(examples_seed=1), Thought(QUESTION), style)
    assert (other.shared, other.turns) != (prompts[0].shared, prompts[0].turns)


@given(st.integers(1, 8), st.integers(0, 1000))
def test_a_right_solution_fits_into_the_token_limits(operations: int, seed: int) -> None:
    rng = random.Random(seed)
    expression = arithmetic.generate_expression(rng, operations)
    lines = arithmetic.solve(expression, rng)
    solution = arithmetic.render_solution(lines, arithmetic.evaluate(expression))
    problem = Problem("0", expression)
    # One character is at most one token of the shipped model.
    assert len(solution) < asked(FewShot(examples=0), Thought(problem)).max_tokens
    longest = max(len(line) for line in solution.split("\n")) + 1
    assert longest < asked(FewShot(examples=0, stepwise=True), Thought(problem)).max_tokens


def test_generated_problems_depend_on_the_seed_alone_and_are_no_examples() -> None:
    task = FewShot(operations=1, examples=64, limit=3000)
    random.seed(1)
    state = random.getstate()
    problems = task.problems(3)
    assert random.getstate() == state
    assert FewShot(operations=1, examples=64, limit=20).problems(3) == problems[:20]
    assert FewShot(operations=1, examples=64, limit=3000).problems(4) != problems
    assert not {problem.input for problem in problems} & {each.question for each in task.worked}
    assert len({each.question for each in task.worked}) == 64
    for problem in problems:
        assert eval(problem.input) == problem.target
        assert sum(problem.input.count(operator) for operator in "+-*") == 1


def test_a_whole_solution_is_one_thought() -> None:
    task = FewShot()
    assert asked(task, Thought(QUESTION)).stop == ("\nQ",)
    assert task.prompt(chain(task, QUESTION, "=2+20\n=22\nA22"), "embedded") is None
    assert task.prompt(chain(task, QUESTION, "=2+20\n=22"), "embedded") is None


@pytest.mark.parametrize("style", ["embedded", "chat"])
def test_stepwise_thoughts_are_lines_that_go_on_until_an_answer(style: str) -> None:
    task = FewShot(stepwise=True)
    first = asked(task, Thought(QUESTION), style)
    assert first.stop == ("\n",)
    assert not first.appended
    assert first.shared + first.text == (whole := asked(FewShot(), Thought(QUESTION), style)).shared + whole.text
    middle = asked(task, chain(task, QUESTION, "=2+20"), style)
    assert (middle.text, middle.shared, middle.appended, middle.stop) == ("", "", True, ("\n",))
    assert task.prompt(chain(task, QUESTION, "=2+20", "=22", "A22"), style) is None
    assert task.prompt(chain(task, QUESTION, "=22", "The answer is 22."), style) is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("=2+20\n=22\nA22", 22),
        ("A007", 7),
        ("The answer is 22.", 22),
        ("the answer is: **1,024**", 1024),
        ("The answer is 3. No, wait. The answer is $4.50!", "4.5"),
        ("The answer is -4.0", -4),
        ("The answer is  Paris.", "paris"),
        ("The answer is '.50'.", "0.5"),
        ("The answer is -.0", 0),
        ("The answer is 3/4", "0.75"),
        ("The answer is " + "7" * 5000, "7" * 5000),
        ("=2+20", None),
        ("22", 22),
        ("So it is\n=22", None),
        ("The answer is", None),
        ("The answer is **.", None),
        ("A", None),
        ("A22b", None),
        ("", None),
    ],
)
def test_answers_are_read(text: str, answer: int | str | None) -> None:
    assert FewShot().parse(Thought(QUESTION, (0,), text=text)) == answer


def asked_in(style: str, text: str, finish: Finish = Finish.END) -> Thought:
    """A thought as a run makes it below the root."""
    prompt = asked(FewShot(), Thought(QUESTION), style)
    return Thought(QUESTION, (0,), (Thought(QUESTION),), text, prompt=prompt.plain, finish=finish)


@pytest.mark.parametrize("style", ["chat", "plain"])
def test_the_terse_form_of_the_shipped_model_is_not_looked_for_in_other_texts(style: str) -> None:
    task = FewShot()
    assert task.parse(asked_in(style, "Sheet size:\nA4\nThe answer is 210.")) == 210
    assert task.parse(asked_in(style, "Take the\nA380\nor the bus")) is None
    assert task.parse(asked_in("embedded", "=2+20\n=22\nA22")) == 22
    assert task.parse(asked_in("embedded", "The answer is 5.\nA22")) == 22
    assert task.parse(Thought(QUESTION, (0,), text="A4\nThe answer is 210.")) == 210


@pytest.mark.parametrize(
    ("style", "text", "answer"),
    [
        ("embedded", "=2+20\n=22\nA2", None),
        ("embedded", "=2+20\n=22\nA22\n", 22),
        ("embedded", "A22\nQ1", 22),
        ("chat", "The answer is 27", None),
        ("chat", "The answer is 5.", None),
        ("chat", "The answer is 276.\n", 276),
        ("chat", "The answer is 5. The", 5),
        ("chat", "The answer is 5 1", None),
        ("chat", "The answer is Pa", None),
        ("chat", "So \\boxed{27", None),
        ("chat", "So \\boxed{276}", 276),
        ("chat", "The answer is \\boxed{276}", 276),
        ("chat", "The answer is 3.\nNo, the answer is 1", None),
    ],
)
def test_what_the_limit_cut_off_is_no_answer(style: str, text: str, answer: int | None) -> None:
    assert FewShot().parse(asked_in(style, text, Finish.LENGTH)) == answer


def test_a_line_that_a_limit_cut_in_two_is_read_as_one() -> None:
    task, root = FewShot(stepwise=True), Thought(QUESTION)
    cut = asked_in("chat", "The answer is 2", Finish.LENGTH)
    rest = Thought(QUESTION, (0, 0), (cut,), "2.", appended=True, finish=Finish.STOP)
    assert (task.parse(cut), task.parse(rest)) == (None, 22)
    embedded = Thought(QUESTION, (0,), (root,), "A2", prompt="Q2+4*5\n", finish=Finish.LENGTH)
    assert task.parse(Thought(QUESTION, (0, 0), (embedded,), "2", appended=True, finish=Finish.STOP)) == 22


def test_nothing_is_put_behind_a_text_that_the_model_ended() -> None:
    task = FewShot(stepwise=True)
    assert task.prompt(asked_in("chat", "=22", Finish.END), "chat") is None
    assert task.prompt(asked_in("chat", "=22", Finish.STOP), "chat") is not None
    assert task.prompt(asked_in("chat", "=2", Finish.LENGTH), "chat") is not None


@pytest.mark.parametrize(
    ("style", "text", "choices"),
    [
        ("embedded", "?", ("+", "-")),
        ("chat", "\nIs this right so far? Answer yes or no.", (" yes", " no")),
        ("plain", "\nIs this right so far? Answer yes or no.", (" yes", " no")),
    ],
)
def test_a_verdict_is_asked_for_behind_what_is_written(style: str, text: str, choices: tuple[str, ...]) -> None:
    task = FewShot(stepwise=True)
    prompt = task.judge_prompt(chain(task, QUESTION, "=2+20"), style)
    assert prompt is not None
    assert (prompt.text, prompt.appended, prompt.shared) == (text, True, "")
    assert task.template(style, "verdict").choices == choices
    assert task.judge_prompt(Thought(QUESTION), style) is None


@pytest.mark.parametrize(
    ("text", "value"), [("+", 1.0), ("-", 0.0), (" Yes.", 1.0), ("no, it is 23", 0.0), ("perhaps", None), ("", None)]
)
def test_a_verdict_is_worth_one_or_nought(text: str, value: float | None) -> None:
    assert FewShot().parse_value(text) == value


@given(st.one_of(st.text(), st.text("QA=+-*0123456789\n."), st.text().map(lambda text: "The answer is" + text)))
def test_no_text_breaks_parsing_or_scoring(text: str) -> None:
    task = FewShot()
    thought = chain(task, QUESTION, text)
    assert thought.answer is None or isinstance(thought.answer, (int, str))
    assert exact_match(thought) == Score(float(thought.answer == 22), final=thought.answer == 22)
    assert 0 <= steps_hold(thought).value <= 1


@pytest.mark.parametrize(
    ("texts", "score"),
    [
        (("=2+20\n=22\nA22",), Score(1.0, final=True)),
        (("=2+20", "=22", "A22"), Score(1.0, final=True)),
        (("=2+20", "=22"), Score(1.0)),
        (("=2+20", "=23"), Score(0.5)),
        (("=2+20\n=22\nA23",), Score(2 / 3)),
        (("=2+21\n=23\nA23",), Score(2 / 3)),
        (("=2+20\n=2+\nA2",), Score(1 / 3)),
        (("A22",), Score(0.0)),
        (("",), Score(0.0)),
        ((), Score(0.0)),
    ],
)
def test_steps_hold_counts_lines_that_keep_the_value(texts: tuple[str, ...], score: Score) -> None:
    thought = chain(FewShot(), QUESTION, *texts)
    assert steps_hold(thought).value == pytest.approx(score.value)
    assert steps_hold(thought).final == score.final


def test_steps_hold_never_looks_at_the_target() -> None:
    wrong = Problem("0", "2+4*5", 99)
    assert steps_hold(chain(FewShot(), wrong, "=2+20\n=22\nA22")) == Score(1.0, final=True)
    with pytest.raises(ValueError, match="not an expression"):
        steps_hold(chain(FewShot(), Problem("0", "How many apples?", 3), "The answer is 3."))


@pytest.mark.parametrize("values", [{"operations": 0}, {"examples": -1}, {"limit": 0}, {"stepwise": "perhaps"}])
def test_fields_are_constrained(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(FewShot).validate_python(values)


def test_examples_as_text_in_a_chat_stand_before_the_heading_of_the_question() -> None:
    task = FewShot(examples=2, examples_as="text")
    prompt = asked(task, Thought(task.problems(0)[0]), "chat")
    text = prompt.shared + prompt.text
    assert text.startswith(f"Question: {task.worked[0].question}\n")
    assert text.count("Question: ") == 3
    assert f"\n\nQuestion: {task.problems(0)[0].input}\n\n" in text
