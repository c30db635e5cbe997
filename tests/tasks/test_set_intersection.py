"""Set intersection: formats, both forms of an answer, the published file, errors, the scorer, parts."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from treereason.core import Finish, Problem, Score, Task, Thought, UserError
from treereason.tasks.set_intersection import SCORERS, SetIntersection, set_errors

SETS = st.lists(st.integers(0, 20), max_size=12, unique=True)
EXAMPLE = Problem("0", {"first": [3, 17, 4], "second": [17, 9, 3]}, [3, 17])


def decoded(problem: Problem, text: str, style: str = "chat", finish: Finish = Finish.END) -> Thought:
    task, root = SetIntersection(), Thought(problem)
    prompt = task.prompt(root, style)
    assert prompt is not None
    thought = Thought(problem, (0,), (root,), text, prompt=prompt.plain, finish=finish)
    thought.answer = task.parse(thought)
    return thought


def test_it_is_a_task_with_named_scorers() -> None:
    task: Task = SetIntersection()
    assert task.scorer in SCORERS
    assert set_errors.oracle is True  # type: ignore[attr-defined]


def test_the_embedded_prompt_and_answer_are_those_of_the_shipped_model() -> None:
    task = SetIntersection()
    prompt = task.prompt(Thought(EXAMPLE), "embedded")
    assert prompt is not None
    assert (prompt.plain, prompt.appended, prompt.stop) == ("meet 3 17 4+17 9 3=", False, ())
    assert decoded(EXAMPLE, "3 17", "embedded").answer == [3, 17]
    assert task.prompt(decoded(EXAMPLE, "3", "embedded"), "embedded") is None
    empty = task.prompt(Thought(Problem("0", {"first": [], "second": [1]})), "embedded")
    assert empty is not None
    assert empty.plain == "meet +1="


@given(SETS, SETS)
def test_every_way_to_write_an_answer_is_read(first: list[int], second: list[int]) -> None:
    common = [number for number in first if number in second]
    problem = Problem("0", {"first": first, "second": second}, sorted(common))
    listed = str(common)
    texts = [listed, f"Common: {listed}.", f"Of [1, 2]\n{listed} (sic)", listed.replace("[", "{").replace("]", "}")]
    texts += [f"$\\{{{listed[1:-1]}\\}}$", listed.replace(", ", " ")]
    thoughts = [decoded(problem, text) for text in texts]
    thoughts.append(decoded(problem, " ".join(map(str, sorted(common))), "embedded"))
    for thought in thoughts:
        assert sorted(thought.answer) == sorted(common), thought.text
        assert SetIntersection().solved(problem, thought.answer)
        assert set_errors(thought) == Score(0.0, final=True)


def test_no_text_is_the_empty_set_for_the_shipped_model_alone() -> None:
    assert decoded(EXAMPLE, "", "embedded").answer == []
    assert decoded(EXAMPLE, "", "embedded", Finish.LENGTH).answer is None
    assert decoded(EXAMPLE, "").answer is None
    assert decoded(EXAMPLE, "[]").answer == []
    assert decoded(EXAMPLE, "The sets share nothing: ∅").answer == []


@pytest.mark.parametrize(
    ("text", "answer"),
    [("[3, 17]", [3, 17]), ("[3, 17] is what", [3, 17]), ("[3, 1", None), ("3 1", None), ("so\n3, 1", None)],
)
def test_of_a_text_that_the_limit_cut_off_only_a_closed_list_is_an_answer(text: str, answer: list[int] | None) -> None:
    assert decoded(EXAMPLE, text, finish=Finish.LENGTH).answer == answer


@pytest.mark.parametrize("text", ["no", "three", "[3, x]", "[3, 17, ...]", "3.5", "٣", "[" * 100_000, "{" * 9999])
def test_what_is_no_set_has_no_answer(text: str) -> None:
    thought = decoded(EXAMPLE, text)
    assert thought.answer is None
    assert set_errors(thought) == Score(-1000.0)


@given(st.one_of(st.text(), st.text("0123456789[]{}, -\n\\∅٣²"), st.text("[]{}0", max_size=300)))
def test_no_text_breaks_parsing_or_scoring(text: str) -> None:
    thought = decoded(EXAMPLE, text)
    assert thought.answer is None or all(type(element) is int for element in thought.answer)
    assert (set_errors(thought).value == -1000) == (thought.answer is None)
    assert set_errors(thought).final == SetIntersection().solved(EXAMPLE, thought.answer)


@given(SETS, SETS, st.lists(st.integers(-1, 25), max_size=15))
def test_errors_are_those_of_graph_of_thoughts(first: list[int], second: list[int], attempt: list[int]) -> None:
    """Missing plus wrong elements, found by walking along both sorted lists; a repeat is a wrong element."""
    common, found, errors = sorted(set(first) & set(second)), sorted(attempt), 0
    while common and found:
        if common[0] == found[0]:
            common, found = common[1:], found[1:]
        elif common[0] < found[0]:
            common, errors = common[1:], errors + 1
        else:
            found, errors = found[1:], errors + 1
    errors += len(common) + len(found)
    thought = decoded(Problem("0", {"first": first, "second": second}), str(attempt))
    assert set_errors(thought) == Score(-errors, final=errors == 0)


def test_chat_prompts_share_their_instructions_and_improve_an_attempt() -> None:
    task = SetIntersection(limit=2)
    first, second = (task.prompt(Thought(problem), "chat") for problem in task.problems(0))
    assert first is not None
    assert second is not None
    assert first.shared == second.shared != ""
    for attempt in ([3], []):  # an empty set is an answer like any other
        thought = Thought(EXAMPLE, (0,), answer=attempt, score=Score(-2.0))
        improve = task.prompt(thought, "plain")
        assert improve is not None
        assert "First: [3, 17, 4]\nSecond: [17, 9, 3]" in improve.text
        assert f"Attempt: {attempt}" in improve.text
    assert task.prompt(Thought(EXAMPLE, (0,), answer=[3, 17], score=Score(0.0, final=True)), "chat") is None
    with pytest.raises(UserError, match="'haiku'"):
        task.prompt(Thought(EXAMPLE), "haiku")


def test_generated_sets_are_those_of_their_seed_and_some_share_nothing() -> None:
    random.seed(1)
    state = random.getstate()
    many = SetIntersection(size=8).problems(5)
    assert random.getstate() == state
    assert SetIntersection(size=8, limit=3).problems(5) == many[:3]
    assert SetIntersection(size=8, limit=3).problems(6) != many[:3]
    assert {len(problem.target) for problem in many} == set(range(7))
    for problem in many:
        first, second = problem.input["first"], problem.input["second"]
        assert len(set(first)) == len(set(second)) == 8
        assert set(first) | set(second) <= set(range(16))
        assert problem.target == sorted(set(first) & set(second))
        assert json.loads(json.dumps(problem.input)) == problem.input


def test_the_sets_of_graph_of_thoughts_are_read(data: Path) -> None:
    path = data / "graph-of-thoughts" / "set_intersection_032.csv"
    problems = SetIntersection(path=str(path)).problems(0)
    assert len(problems) == len(path.read_text().splitlines()) - 1 >= 3
    assert all(len(sets) == 32 for problem in problems for sets in problem.input.values())
    assert SetIntersection(path=str(path), limit=2).problems(1) == problems[:2]


GOOD = 'ID,SET1,SET2,INTERSECTION\n0,"[3, 17, 4]","[17, 9, 3]","[3, 17]"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "1,banana,[1],[1]\n", r"sets\.csv:3: SET1 is not a list of numbers such as \[3, 1, 4\]: 'banana'"),
        (GOOD + "1,[1],[1],{}\n", r":3: INTERSECTION is not a list"),
        (GOOD + "1,[1],[1]," + "[" * 50_000 + "\n", r":3: INTERSECTION is not a list"),
        (GOOD + "1,[1],[true],[1]\n", r":3: SET2: True is not a whole number"),
        (GOOD + "1,[-1],[1],[]\n", r":3: SET1: -1 is not a whole number"),
        (GOOD + '1,"[1, 1]",[1],[1]\n', r":3: SET1 holds a number twice"),
        (GOOD + "1,[1],[2],[1]\n", r":3: the column INTERSECTION is not what SET1 and SET2 share"),
        (GOOD + "0,[1],[2],[]\n", r":3: the ID '0' occurs twice"),
        (GOOD + "1,[1],[2]\n", r":3: 3 cells in a table of 4 columns"),
        ("ID,SET1,SET2\n0,[1],[1]\n", r":1: no column 'INTERSECTION'"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "sets.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        SetIntersection(path=str(path)).problems(0)
    assert "\n" not in str(caught.value)


def test_a_file_may_have_empty_sets(tmp_path: Path) -> None:
    path = tmp_path / "sets.csv"
    path.write_text(GOOD + "1,[],[1],[]\n", encoding="utf-8")
    assert SetIntersection(path=str(path)).problems(0)[1] == Problem("1", {"first": [], "second": [1]}, [])


@given(SETS, SETS, st.integers(1, 15))
def test_right_answers_to_all_parts_are_the_right_answer(first: list[int], second: list[int], num: int) -> None:
    task, problem = SetIntersection(), Problem("0", {"first": first, "second": second})
    parts = task.split(problem, num)
    assert len(parts) == max(1, min(num, len(second)))
    assert [number for part in parts for number in part["second"]] == second
    thoughts = []
    for i, part in enumerate(parts):
        prompt = task.part_prompt(part, "chat")
        assert f"First: {first}\nSecond: {part['second']}\n" in prompt.text
        text = str([number for number in part["second"] if number in first])
        thoughts.append(Thought(problem, (i,), text=text, part=True, data={"part": part}))
        assert task.score_part(thoughts[-1]) == Score(0.0, final=True)
    lists = "\n".join(thought.text for thought in thoughts)
    assert task.aggregate_prompt(thoughts, "plain").text == f"Lists:\n{lists}\nTogether:"
    union = [number for number in second if number in first]
    spaced = (" ".join(map(str, numbers)) for numbers in (first, union))
    assert task.aggregate_prompt(thoughts, "embedded").text == "meet {}+{}=".format(*spaced)


def test_a_part_without_an_answer_is_scored_and_adds_nothing() -> None:
    task = SetIntersection()
    [part, _] = task.split(EXAMPLE, 2)
    unread, right = (Thought(EXAMPLE, (0,), text=text, part=True, data={"part": part}) for text in ("?", "[17]"))
    assert task.parse_part(unread) is None
    assert task.score_part(unread) == Score(-1000.0)
    assert task.aggregate_prompt([unread, right], "plain").text == "Lists:\n[]\n[17]\nTogether:"


@pytest.mark.parametrize("values", [{"size": 0}, {"size": 1025}, {"limit": 0}])
def test_fields_are_constrained(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(SetIntersection).validate_python(values)
