"""Game of 24: both forms of a step, answers, files, proposals and values, scorers, and searches over it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tests.fakes import Outcome, ScriptedLines, run_search
from treereason.core import Finish, Problem, Prompt, Score, Task, Thought, UserError
from treereason.search import BestOfN, DepthFirst, TreeOfThoughts
from treereason.tasks.game_of_24 import SCORERS, GameOf24, reaches_target, solver
from treereason.tasks.generators import countdown

TASK = GameOf24()
PROBLEM = Problem("0", [4, 9, 10, 13], 24)
STEPS = ("13 - 9 = 4 (left: 4 4 10)", "10 - 4 = 6 (left: 4 6)", "4 * 6 = 24 (left: 24)")
ANSWER = "4 * (10 - (13 - 9))"
SHORT = ("13-9=4,4 4 10", "10-4=6,4 6", "4*6=24,24")
HEADER = "Rank,Puzzles,AMT (s),Solved rate,1-sigma Mean (s),1-sigma STD (s)\n"


def chain(*texts: str, problem: Problem = PROBLEM, finish: Finish = Finish.STOP) -> Thought:
    thought = Thought(problem)
    for text in texts:
        thought = Thought(problem, (*thought.path, 0), (thought,), text, finish=finish)
        thought.answer = TASK.parse(thought)
    return thought


def asked(thought: Thought, style: str = "chat") -> Prompt:
    prompt = TASK.prompt(thought, style)
    assert prompt is not None
    return prompt


def test_it_is_a_task_with_named_scorers() -> None:
    task: Task = TASK
    assert task.scorer in SCORERS
    assert all(scorer.oracle is True for scorer in SCORERS.values())  # type: ignore[attr-defined]


def test_the_embedded_prompt_is_that_of_the_shipped_model() -> None:
    prompt = asked(Thought(Problem("0", [4, 5, 6, 10], 24)), "embedded")
    assert (prompt.shared + prompt.text, prompt.appended, prompt.stop) == ("make 24 4 5 6 10:", False, ("\n",))


@pytest.mark.parametrize("style", ["embedded", "chat"])
def test_a_thought_is_one_line_behind_the_last(style: str) -> None:
    steps = SHORT if style == "embedded" else STEPS
    for lines in (steps[:1], steps[:2]):
        below = asked(chain(*lines), style)
        assert (below.text, below.shared, below.appended, below.stop) == ("", "", True, ("\n",))
        assert len(steps[2]) < below.max_tokens  # one character is at most one token
    assert TASK.prompt(chain(*steps[:1], finish=Finish.END), style) is None
    assert TASK.prompt(chain("13 - 9 = 5 (left: 4 5 10)"), style) is None
    assert asked(chain(*steps[:1], finish=Finish.GIVEN), style).text == "\n"


def test_the_answer_is_a_line_of_its_own_or_follows_from_the_short_steps() -> None:
    assert chain(*STEPS).answer is None
    assert asked(chain(*STEPS)).appended
    answered = chain(*STEPS, f"Answer: {ANSWER} = 24")
    assert answered.answer == ANSWER
    assert TASK.prompt(answered, "chat") is None
    assert chain(*SHORT[:2]).answer is None
    for finish in (Finish.END, Finish.STOP):
        assert chain(*SHORT, finish=finish).answer == "(13 - 9) * (10 - 4)"
    assert TASK.prompt(chain(*SHORT), "embedded") is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (f"Answer: {ANSWER}", ANSWER),
        (f"**Answer:** `{ANSWER}`", ANSWER),
        ("Answer: 4 × 6", "4 * 6"),
        ("answer: 4 * 6", "4 * 6"),
        (ANSWER, ANSWER),
        ("Answer:", "Answer:"),
        ("I do not know", "I do not know"),
        (STEPS[0], None),
        ("", None),
    ],
)
def test_answers_are_read(text: str, answer: str | None) -> None:
    assert chain(text).answer == answer


def test_a_game_that_broke_the_rules_or_that_the_model_ended_has_an_answer() -> None:
    broken = chain(STEPS[0], "4 + 5 = 9 (left: 9 10)")
    assert broken.answer == "4 + 5 = 9 (left: 9 10)"
    assert TASK.prompt(broken, "chat") is None
    assert reaches_target(broken) == solver(broken) == Score(0.0)
    for ended, answer in ((chain(*STEPS), "(13 - 9) * (10 - 4)"), (chain(*STEPS[:2]), STEPS[1])):
        ended.finish = Finish.END
        assert TASK.parse(ended) == answer
        assert TASK.prompt(ended, "chat") is None


def test_what_the_limit_cut_off_is_neither_answer_nor_step() -> None:
    assert chain("Answer: 4 * 6", finish=Finish.LENGTH).answer is None
    cut = Thought(PROBLEM, (0,), (Thought(PROBLEM),), "13-9=4,4 4 10", finish=Finish.LENGTH)
    assert TASK.prompt(cut, "embedded") is None
    assert solver(cut) == Score(0.0)


def test_generated_problems_can_be_solved_and_depend_on_the_seed_alone() -> None:
    task = GameOf24(target=31, numbers=3, limit=20)
    problems = task.problems(3)
    assert task.problems(3) == problems
    assert GameOf24(target=31, numbers=3, limit=5).problems(3) == problems[:5]
    assert task.problems(4) != problems
    for problem in problems:
        assert problem.target == 31
        assert len(problem.input) == 3
        assert solver(Thought(problem)) == Score(1.0)


def test_the_papers_file_is_read_from_a_rank_on(tmp_path: Path) -> None:
    path = tmp_path / "24.csv"
    path.write_text(f"{HEADER}1,1 1 4 6,4.4,99.2%,4.67,1.48\n2,1 1 11 11,4.41,99.6%,4.68,1.45\n3,2 3 5 12,1,1%,1,1\n")
    assert GameOf24(path=str(path)).problems(0)[0] == Problem("1", [1, 1, 4, 6], 24)
    assert [problem.id for problem in GameOf24(path=str(path), first=2).problems(5)] == ["2", "3"]
    with pytest.raises(UserError, match=r"24\.csv: the last Rank is 3: lower task\.first=901"):
        GameOf24(path=str(path), first=901).problems(0)
    assert GameOf24(path=str(path), first=2, limit=1, target=22).problems(0) == [Problem("2", [1, 1, 11, 11], 22)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: its first line must name the columns Rank, Puzzles"),
        ("Rank,Puzzle\n1,1 1 4 6\n", "24.csv:1: no column 'Puzzles'"),
        (f"{HEADER}1,1 1 4 6,1,1,1\n", "24.csv:2: 5 cells in a table of 6 columns"),
        (f"{HEADER}1,1 1 4 6,1,1,1,1\n1,1 1 4 6,1,1,1,1\n", "24.csv:3: the Rank '1' is no number of its own"),
        (f"{HEADER}x,1 1 4 6,1,1,1,1\n", "24.csv:2: the Rank 'x' is no number"),
        (f"{HEADER}1,1 1 4 x,1,1,1,1\n", "24.csv:2: not 2 to 5 numbers such as 4 5 6 10: '1 1 4 x'"),
        (f"{HEADER}1,1 1 4 6 7 8,1,1,1,1\n", "24.csv:2: not 2 to 5 numbers"),
        (f"{HEADER}1,7,1,1,1,1\n", "24.csv:2: not 2 to 5 numbers"),
        (HEADER, "24.csv has no problems in it"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "24.csv"
    path.write_text(text)
    with pytest.raises(UserError) as told:
        GameOf24(path=str(path)).problems(0)
    assert message in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("values", [{"target": 0}, {"target": 100}, {"numbers": 2}, {"numbers": 6}, {"first": 0}])
def test_fields_are_constrained(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(GameOf24).validate_python(values)


@pytest.mark.parametrize(
    ("texts", "score"),
    [
        ((), Score(1.0)),
        (STEPS[:1], Score(1.0)),
        (SHORT[:2], Score(1.0)),
        (STEPS, Score(1.0)),
        (SHORT, Score(1.0, final=True)),
        ((*STEPS, f"Answer: {ANSWER}"), Score(1.0, final=True)),
        ((*STEPS, "Answer: 4 * 6"), Score(0.0)),
        (("13 + 10 = 23 (left: 4 9 23)",), Score(0.0)),  # none of 4, 9, 23 makes 24
        (("13 - 9 = 5 (left: 4 5 10)",), Score(0.0)),
        ((*STEPS[:2], "4 + 6 = 10 (left: 10)"), Score(0.0)),
    ],
)
def test_the_solver_says_whether_the_target_can_still_be_made(texts: tuple[str, ...], score: Score) -> None:
    assert solver(chain(*texts)) == score
    final = texts == SHORT or texts[-1:] == (f"Answer: {ANSWER}",)
    assert reaches_target(chain(*texts)) == Score(float(final), final=final)


def test_solved_takes_any_right_expression() -> None:
    assert TASK.solved(PROBLEM, "(10 - 4) * (13 - 9)")
    assert not TASK.solved(PROBLEM, "(10 - 4) * 4")
    assert not TASK.solved(PROBLEM, "__import__('os')")


def test_proposals_are_the_steps_that_the_rules_allow_each_once() -> None:
    text = (
        "Here are some:\n1. 13 - 9 = 4 (left: 4 4 10)\n2. 13-9=4,4 4 10\n- 4 × 9 = 36 (left: 36 10 13)\n"
        "13 - 9 = 5 (left: 4 5 10)\n4 + 5 = 9 (left: 9 10 13)\n13 - 9 = 4 (Left: 4, 4, 10)\n"
        "13 - 9 = 4 (left: 4 4 10)\n"
    )
    assert TASK.proposals(Thought(PROBLEM), text) == ["13 - 9 = 4 (left: 4 4 10)", "4 * 9 = 36 (left: 10 13 36)"]
    for each in TASK.proposals(Thought(PROBLEM), text):
        assert TASK.prompt(chain(each), "chat") is not None


def test_what_is_proposed_behind_the_last_step_is_the_answer() -> None:
    prompt = TASK.propose_prompt(chain(*STEPS), "chat")
    assert prompt is not None
    assert prompt.text.startswith("Numbers: 4 9 10 13\nSteps:\n" + "\n".join(STEPS) + "\n\n")
    assert TASK.proposals(chain(*STEPS), f"Answer: {ANSWER} = 24\nAnswer: {ANSWER}") == [f"Answer: {ANSWER}"]
    assert TASK.propose_prompt(chain(*STEPS, f"Answer: {ANSWER}"), "chat") is None
    assert TASK.propose_prompt(chain("nonsense"), "chat") is None
    assert TASK.proposals(chain("nonsense"), "\n".join(STEPS)) == []


def test_proposing_and_judging_show_the_numbers_that_are_left() -> None:
    for prompt in (TASK.propose_prompt(chain(*STEPS[:1]), "plain"), TASK.judge_prompt(chain(*STEPS[:1]), "plain")):
        assert prompt is not None
        assert "Target: 24\nNumbers: 4 4 10\n" in prompt.text
        assert not prompt.appended
    judged = TASK.judge_prompt(chain(*STEPS, f"Answer: {ANSWER}"), "chat")
    assert judged is not None
    assert judged.text.startswith(f"Target: 24\nNumbers: 4 9 10 13\nExpression: {ANSWER}\n\n")
    assert TASK.judge_prompt(chain("13 - 9 = 4 (left", finish=Finish.LENGTH), "chat") is None
    with pytest.raises(UserError, match="no prompt 'value' for models of style 'embedded'"):
        TASK.judge_prompt(chain(*SHORT[:1]), "embedded")


@pytest.mark.parametrize(
    ("text", "value"),
    [("sure", 20.0), ("4 * 6 = 24\nSure.", 20.0), ("likely", 1.0), ("not sure, but\nimpossible", 0.001),
     ("maybe", None), ("It is unlikely", None), ("", None)],
)  # fmt: skip
def test_a_value_is_the_papers_for_the_last_word_of_judgement(text: str, value: float | None) -> None:
    assert TASK.parse_value(text) == value


def worked(name: str) -> list[str]:
    """The worked examples in one of the chat prompts."""
    return TASK.template("chat", name).shared.split("\n\n")[1:-1]


@pytest.mark.parametrize("example", [*worked("solve"), *worked("answer")])
def test_the_worked_solutions_in_the_prompts_are_right(example: str) -> None:
    numbers = [int(number) for number in re.findall(r"Numbers: (.*)", example)[0].split()]
    target = int((re.findall(r"Target: (\d+)", example) or ["24"])[0])
    steps, _, answer = example.partition("Steps:\n")[2].partition("\nAnswer: ")
    state = countdown.after_steps(numbers, steps)
    assert state is not None
    assert [value for value, _ in state] == [target]
    assert countdown.makes(answer, numbers, target)


@pytest.mark.parametrize("example", worked("propose"))
def test_the_worked_proposals_in_the_prompts_are_allowed(example: str) -> None:
    numbers = [int(number) for number in re.findall(r"Numbers: (.*)", example)[0].split()]
    steps = example.partition("Next steps:\n")[2].splitlines()
    assert TASK.proposals(Thought(Problem("0", numbers, 24)), "\n".join(steps)) == steps


@pytest.mark.parametrize("example", [*worked("value"), *worked("value_answer")])
def test_the_worked_judgements_in_the_prompts_are_right(example: str) -> None:
    numbers = [int(number) for number in re.findall(r"Numbers: (.*)", example)[0].split()]
    target = int(re.findall(r"Target: (\d+)", example)[0])
    expression = re.findall(r"Expression: (.*)", example)
    right = countdown.makes(expression[0], numbers, target) if expression else countdown.reaches(numbers, target)
    assert TASK.parse_value(example) in ((20.0, 1.0) if right else (0.001, 1.0))


def searched(search: Any, style: str, lines: dict[tuple[int, ...], str]) -> Outcome:
    """A run over PROBLEM in which all thoughts that `lines` does not name are nonsense."""
    return run_search(
        search, lambda path: lines.get(path, "?"), TASK, solver, problems=[PROBLEM], engine=ScriptedLines, style=style
    )


def test_tree_of_thoughts_goes_line_by_line_to_a_right_answer() -> None:
    outcome = searched(
        TreeOfThoughts(k=2, b=1),
        "plain",
        {
            (0,): "13 + 10 = 23 (left: 4 9 23)",
            (1,): STEPS[0],
            (1, 0): STEPS[1],
            (1, 0, 1): STEPS[2],
            (1, 0, 1, 0): f"Answer: {ANSWER}",
        },
    )
    assert (outcome.done.best, outcome.done.answer, outcome.done.solved) == ((1, 0, 1, 0), ANSWER, True)


def test_depth_first_goes_back_from_what_cannot_make_the_target() -> None:
    first = {(0,): "10-4=6,6 9 13", (0, 0): "6+9=15,13 15"}  # 6 9 13 still makes 24, 13 15 does not
    lines = {**first, (1,): SHORT[0], (1, 1): SHORT[1], (1, 1, 0): SHORT[2]}
    outcome = searched(DepthFirst(k=2, v_th=0.5), "embedded", lines)
    assert (outcome.done.best, outcome.done.solved) == ((1, 1, 0), True)
    assert [expansion.parent for expansion in outcome.engine.expansions] == [(), (0,), (1,), (1, 1)]


def test_samples_are_whole_games() -> None:
    lines = {(0, *[0] * i): line for i, line in enumerate(SHORT)}
    outcome = searched(BestOfN(n=3), "embedded", lines)
    assert (outcome.done.best, outcome.done.solved) == ((0, 0, 0), True)


@given(st.one_of(st.text(), st.text("0123456789+-*/= ,(left:)\nAnswer")))
def test_no_text_breaks_what_reads_a_model(text: str) -> None:
    for thought in (chain(text), chain(*STEPS[:1], text)):
        assert solver(thought).value in (0.0, 1.0)
        assert TASK.parse_value(text) in (None, *(20.0, 1.0, 0.001))
        for each in TASK.proposals(thought, text):
            assert "\n" not in each
