"""Sorting: formats, parsing of whatever a model writes, the published file, errors, the scorer."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from treereason.core import Finish, Problem, Score, Task, Thought, UserError
from treereason.tasks.sorting import SCORERS, Sorting, sorting_errors

DIGITS = st.lists(st.integers(0, 9), min_size=1, max_size=40)


def decoded(given_digits: list[int], text: str) -> Thought:
    problem = Problem("0", given_digits, sorted(given_digits))
    thought = Thought(problem, (0,), (Thought(problem),), text)
    thought.answer = Sorting().parse(thought)
    return thought


def test_it_is_a_task_with_named_scorers() -> None:
    task: Task = Sorting()
    assert task.scorer in SCORERS
    assert SCORERS[task.scorer].oracle is True  # type: ignore[attr-defined]


def test_the_embedded_prompts_are_those_of_the_shipped_model() -> None:
    task = Sorting()
    root = Thought(Problem("0", [8, 6, 5, 2, 3, 0]))
    prompt = task.prompt(root, "embedded")
    assert prompt is not None
    assert (prompt.shared + prompt.text, prompt.appended) == ("sort 865230=", False)
    assert prompt.max_tokens > 6
    attempt = Thought(root.problem, (0,), (root,), "023", answer=[0, 2, 3])
    revised = task.prompt(attempt, "embedded")
    assert revised is not None
    assert (revised.shared + revised.text, revised.appended) == ("fix 865230:023=", False)


def test_an_attempt_without_an_answer_is_sorted_again_and_a_perfect_one_is_left() -> None:
    task = Sorting()
    answers: tuple[list[int] | None, ...] = (None, [])
    for answer in answers:
        thought = Thought(Problem("0", [2, 1]), (0,), text="?", answer=answer, score=Score(-300.0))
        prompt = task.prompt(thought, "embedded")
        assert prompt is not None
        assert prompt.text == "sort 21="
    assert task.prompt(Thought(Problem("0", [2, 1]), (0,), answer=[1, 2], score=Score(0.0, final=True)), "chat") is None


def test_prompts_share_their_instructions_and_show_the_form_wanted() -> None:
    task = Sorting(limit=2)
    first, second = task.problems(0)
    prompts = [task.prompt(Thought(problem), "chat") for problem in (first, second)]
    assert prompts[0] is not None
    assert prompts[1] is not None
    assert prompts[0].shared == prompts[1].shared != ""
    assert str(first.input) in prompts[0].text
    assert all(user.startswith(prompts[0].shared) for user, _ in prompts[0].turns)
    assert [task.parse(Thought(first, (0,), text=model)) for _, model in prompts[0].turns] == [
        [0, 1, 3, 5, 5],
        [2, 4, 7, 9],
    ]
    plain = task.prompt(Thought(first), "plain")
    assert plain is not None
    assert (plain.turns, plain.text) == ((), f"Given: {first.input}\nOrdered:")
    improve = task.prompt(Thought(first, (0,), answer=[1, 2]), "chat")
    assert improve is not None
    assert str(first.input) in improve.text
    assert "[1, 2]" in improve.text
    with pytest.raises(UserError, match="'haiku'"):
        task.prompt(Thought(first), "haiku")


@given(DIGITS)
def test_every_way_to_write_an_answer_is_read(digits: list[int]) -> None:
    answer = sorted(digits)
    listed, terse = str(answer), "".join(map(str, answer))
    texts = [terse, f" {terse}\n", listed, f"Ordered: {listed}.", f"First [9, 9], then\n{listed} [sic]"]
    texts.append(listed.replace(", ", " "))
    for text in texts:
        thought = decoded(digits, text)
        assert thought.answer == answer, text
        assert Sorting().solved(thought.problem, thought.answer)
    if len(digits) > 1:
        assert decoded(digits, "So:\n" + ", ".join(map(str, answer))).answer == answer


@given(st.one_of(st.text(), st.text("0123456789[], -\n٣²"), st.text("[]0", max_size=500)))
def test_no_text_breaks_parsing_or_scoring(text: str) -> None:
    thought = decoded([3, 1, 2], text)
    assert thought.answer is None or all(type(element) is int for element in thought.answer)
    assert (sorting_errors(thought).value == -300) == (thought.answer is None)
    assert Sorting().solved(thought.problem, thought.answer) == (thought.answer == [1, 2, 3])


@pytest.mark.parametrize("text", ["", "no", "012;3", "12 3", "[1, x]", "[1.5]", "٣٤", "1" * 5000 + "x", "[" * 100_000])
def test_what_is_no_list_has_no_answer(text: str) -> None:
    assert decoded([1, 2], text).answer is None


def test_an_empty_list_is_an_answer() -> None:
    thought = decoded([2, 1], "[ ]")
    assert thought.answer == []
    assert sorting_errors(thought) == Score(-2.0)


@given(DIGITS, DIGITS)
def test_errors_are_those_of_graph_of_thoughts(digits: list[int], attempt: list[int]) -> None:
    errors = 0
    for digit in range(10):
        errors += abs(attempt.count(digit) - digits.count(digit))
    for i in range(1, len(attempt)):
        errors += attempt[i] < attempt[i - 1]
    assert sorting_errors(decoded(digits, str(attempt))) == Score(-errors, final=attempt == sorted(digits))


def test_a_number_that_is_no_digit_counts_as_an_error() -> None:
    assert sorting_errors(decoded([1, 2], "[1, 2, 10]")) == Score(-1.0)


def test_generated_problems_depend_on_the_seed_and_on_nothing_else() -> None:
    few = Sorting(limit=3, length=7).problems(5)
    random.seed(1)
    state = random.getstate()
    many = Sorting(limit=9, length=7).problems(5)
    assert random.getstate() == state
    assert list(many[:3]) == list(few)
    assert [problem.input for problem in Sorting(limit=3, length=7).problems(6)] != [problem.input for problem in few]
    assert all(len(problem.input) == 7 and problem.target == sorted(problem.input) for problem in many)
    assert len({problem.id for problem in many}) == 9
    assert len(Sorting().problems(0)) == 100
    assert json.loads(json.dumps(few[0].input)) == few[0].input


def test_the_lists_of_graph_of_thoughts_are_read(data: Path) -> None:
    path = data / "graph-of-thoughts" / "sorting_032.csv"
    problems = Sorting(path=str(path)).problems(0)
    assert len(problems) == len(path.read_text().splitlines()) - 1 >= 3
    assert all(len(problem.input) == 32 for problem in problems)
    assert [problem.id for problem in problems[:2]] == ["0", "1"]
    assert Sorting(path=str(path), limit=2).problems(1) == problems[:2]


GOOD = 'ID,Unsorted,Sorted\n0,"[2, 1]","[1, 2]"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "1,banana,[1]\n", r"lists\.csv:3: not a list of digits such as \[3, 1, 4\]: 'banana'"),
        (GOOD + '\n1,"[]","[]"\n', r":4: not a list"),
        (GOOD + '1,"{""a"": 1}","[]"\n', r":3: not a list"),
        (GOOD + "1," + "[" * 50_000 + ",[1]\n", r":3: not a list"),
        (GOOD + '1,"[1, 12]","[1, 12]"\n', r":3: the element 12 is not a digit"),
        (GOOD + '1,"[true]","[true]"\n', r":3: the element True is not a digit"),
        (GOOD + '1,"[1, 2.0]","[1, 2]"\n', r":3: the element 2\.0 is not a digit"),
        (GOOD + '1,"[2, 1]","[2, 1]"\n', r":3: the column Sorted is not"),
        (GOOD + '0,"[2, 1]","[1, 2]"\n', r":3: the ID '0' occurs twice"),
        (GOOD + "1,[1]\n", r":3: 2 cells in a table of 3 columns"),
        (GOOD + "1,2,3,4\n", r":3: 4 cells"),
        ('ID,Unsorted,Sorted\n"a\nb","[1]","[1]"\n2,x,y\n', r":4: not a list"),
        ("ID,Unsorted\n0,[1]\n", r":1: no column 'Sorted'; the columns are ID, Unsorted"),
        ("ID,Unsorted,Sorted\n", r"lists\.csv has no problems in it"),
        ("", r"lists\.csv is empty"),
        (GOOD + "1," + "9" * 200_000 + ",[1]\n", r":3: not a list"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "lists.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        Sorting(path=str(path)).problems(0)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file: .*gone\.csv"):
        Sorting(path=str(tmp_path / "gone.csv")).problems(0)
    with pytest.raises(UserError, match="cannot read"):
        Sorting(path=str(tmp_path)).problems(0)
    (tmp_path / "latin.csv").write_bytes(GOOD.encode() + b"\xff\n")
    with pytest.raises(UserError, match=r"latin\.csv:3: not UTF-8"):
        Sorting(path=str(tmp_path / "latin.csv")).problems(0)


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "lists.csv"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert Sorting(path=str(path)).problems(0) == [Problem("0", [2, 1], [1, 2])]


@pytest.mark.parametrize("values", [{"limit": 0}, {"length": 1}, {"length": "many"}])
def test_fields_are_constrained(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Sorting).validate_python(values)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("[1, 2, 3]", [1, 2, 3]),
        ("[1, 2, 3] is the ord", [1, 2, 3]),
        ("[3, 1, 2] gives [1, 2", None),
        ("[1, 2", None),
        ("0123", None),
        ("so\n1, 2, 3", None),
    ],
)
def test_of_a_text_that_the_limit_cut_off_only_a_closed_list_is_an_answer(text: str, answer: list[int] | None) -> None:
    problem = Sorting(limit=1).problems(0)[0]
    assert Sorting().parse(Thought(problem, (0,), text=text, finish=Finish.LENGTH)) == answer


@pytest.mark.parametrize(
    "text",
    ["Given [1, 5]: [1, 5.0]", "Given [1, 5]\nOrdered: [1, 5", "[[5, 1], [1, 5]]", "[1, 5] [1, 5, ...]", "0,\n1, 5"],
)
def test_a_list_is_read_whole_or_not_at_all(text: str) -> None:
    assert decoded([5, 1], text).answer is None


@pytest.mark.parametrize("text", ["[[1, 5]]", "[1, 5] [sic]", "Try:\n1, 5"])
def test_what_is_no_list_hides_none(text: str) -> None:
    assert decoded([5, 1], text).answer == [1, 5]
