"""Keyword counting: names in one another, answers, the published file, errors, the scorer, parts."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from treereason.core import Finish, Problem, Score, Task, Thought, UserError
from treereason.tasks.counts import count_names
from treereason.tasks.generators.travels import COUNTRIES, sentences_of
from treereason.tasks.keyword_counting import SCORERS, KeywordCounting, count_errors

EXAMPLE = Problem("0", "Peru is far. Chile and Peru are neighbours.", {"Peru": 2, "Chile": 1})
COUNTS = st.dictionaries(st.sampled_from(["Peru", "Chile", "Kenya", "Fiji"]), st.integers(-3, 9))


def decoded(text: str, finish: Finish = Finish.END, problem: Problem = EXAMPLE) -> Thought:
    thought = Thought(problem, (0,), (Thought(problem),), text, finish=finish)
    thought.answer = KeywordCounting().parse(thought)
    return thought


def test_it_is_a_task_with_named_scorers() -> None:
    task: Task = KeywordCounting()
    assert task.scorer in SCORERS
    assert count_errors.oracle is True  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("Guinea, Equatorial Guinea, Papua New Guinea and Guinea-Bissau", 4 * [1]),
        ("Papua New Guinea's north; Equatorial Guinea.", [0, 1, 1, 0]),
        ("Guineas and a Guineafowl", [0, 0, 0, 0]),
        ("(Guinea) Guinea/Guinea", [3, 0, 0, 0]),
    ],
)
def test_a_country_whose_name_contains_anothers_does_not_count_as_that_one(text: str, counts: list[int]) -> None:
    names = ["Guinea", "Equatorial Guinea", "Papua New Guinea", "Guinea-Bissau"]
    found = count_names(text, names)
    assert [found.get(name, 0) for name in names] == counts


def test_no_names_are_named_nowhere() -> None:
    assert count_names("Peru", []) == {}
    assert count_names("Nigeria, Romania, Somalia", ["Niger", "Oman", "Mali"]) == {}


@given(COUNTS)
def test_every_way_to_write_an_answer_is_read(counts: dict[str, int]) -> None:
    listed = json.dumps(counts)
    texts = [listed, json.dumps(counts, indent=4), f"```json\n{listed}\n```", f'Part: {{"Peru": 5}}\nSum: {listed}.']
    for text in texts:
        assert decoded(text).answer == counts, text
    assert decoded(listed + " as", Finish.LENGTH).answer == counts


@pytest.mark.parametrize(
    "text",
    [
        "", "no", "Peru: 2, Chile: 1", '{"Peru": 2, "Chile"', '{"Peru": 2} {"Peru": 3', '{"Peru": 2, ...}',
        '{"Peru": 2.5}', '{"Peru": "2"}', '{"Peru": true}', '{"first": {"Peru": 1}, "second": {"Chile": 1}}',
        '{"Peru": 12345678901}', "{Peru: 2}", '{"\\ud800": 1}', "{" * 100_000, '{"a":' * 50_000,
    ],
)  # fmt: skip
def test_what_is_no_object_of_counts_has_no_answer(text: str) -> None:
    thought = decoded(text)
    assert thought.answer is None
    assert count_errors(thought) == Score(-100.0)
    assert not KeywordCounting().solved(EXAMPLE, thought.answer)


@given(st.one_of(st.text(), st.text('{}":, 0123456789.eE-\\u[]tP')))
def test_no_text_breaks_parsing_or_scoring(text: str) -> None:
    thought = decoded(text)
    assert thought.answer is None or all(type(count) is int for count in thought.answer.values())
    assert count_errors(thought).final == KeywordCounting().solved(EXAMPLE, thought.answer)


@given(COUNTS, COUNTS)
def test_errors_are_those_of_graph_of_thoughts(target: dict[str, int], answer: dict[str, int]) -> None:
    """Counts that the answer lacks, counts that it has too much, differences where both have one."""
    errors = sum(abs(target[name]) for name in target.keys() - answer.keys())
    errors += sum(abs(answer[name]) for name in answer.keys() - target.keys())
    errors += sum(abs(target[name] - answer[name]) for name in target.keys() & answer.keys())
    problem = Problem("0", "", target)
    assert count_errors(decoded(json.dumps(answer), problem=problem)) == Score(-errors, final=errors == 0)


def test_a_country_with_count_0_may_be_left_out_or_not() -> None:
    thought = decoded('{"Peru": 2, "Chile": 1, "Fiji": 0}')
    assert count_errors(thought) == Score(0.0, final=True)
    assert KeywordCounting().solved(EXAMPLE, thought.answer)


def test_chat_prompts_share_their_instructions_and_improve_an_attempt() -> None:
    task = KeywordCounting(limit=2)
    problems = task.problems(0)
    first, second = (task.prompt(Thought(problem), "chat") for problem in problems)
    assert first is not None
    assert second is not None
    assert first.shared == second.shared != ""
    assert problems[0].input in first.text
    improve = task.prompt(decoded('{"Peru": 1, "Türkiye": 3}'), "plain")
    assert improve is not None
    assert EXAMPLE.input in improve.text
    assert 'Attempt: {"Peru": 1, "Türkiye": 3}' in improve.text
    done = decoded("{}")
    done.score = Score(0.0, final=True)
    assert task.prompt(done, "chat") is None


def test_the_shipped_model_is_refused_in_one_line_unless_one_brings_prompts_for_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the shipped model counts no keywords: use another one") as told:
        KeywordCounting().prompt(Thought(EXAMPLE), "embedded")
    assert "\n" not in str(told.value)
    (tmp_path / "own.yaml").write_text('embedded: {solve: {text: "count {text}="}}')
    prompt = KeywordCounting(prompts=str(tmp_path / "own.yaml")).prompt(Thought(EXAMPLE), "embedded")
    assert prompt is not None
    assert prompt.text == f"count {EXAMPLE.input}="


def test_generated_stories_are_those_of_their_seed_and_name_what_they_name() -> None:
    random.seed(1)
    state = random.getstate()
    many = KeywordCounting().problems(5)
    assert random.getstate() == state
    assert KeywordCounting(limit=3).problems(5) == many[:3]
    assert KeywordCounting(limit=3).problems(6) != many[:3]
    for problem in many:
        assert count_names(problem.input, COUNTRIES) == problem.target
        assert len(problem.target) <= 8
    assert len(sentences_of(KeywordCounting(limit=1, sentences=40).problems(0)[0].input)) >= 30
    pairs = ((a, b) for problem in many for a in problem.target for b in problem.target)
    assert any(a != b and a in b for a, b in pairs), "no story has a country within another one's name"


def test_the_texts_of_graph_of_thoughts_are_read_and_name_what_their_column_says(data: Path) -> None:
    path = data / "graph-of-thoughts" / "countries.csv"
    problems = KeywordCounting(path=str(path)).problems(0)
    assert len(problems) == len(path.read_text().splitlines()) - 1 >= 3
    names = {name for problem in problems for name in problem.target}
    for problem in problems:
        assert count_names(problem.input, names) == problem.target
    assert KeywordCounting(path=str(path), limit=2).problems(1) == problems[:2]


GOOD = "ID,Text,Countries\n0,Peru and Chile and Peru,\"[Peru, 'Chile', Peru]\"\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "1,Peru,Peru\n", r"texts\.csv:3: not a list of names such as \[Peru, Chile, Peru\]: 'Peru'"),
        (GOOD + "1,Peru,[\n", r":3: not a list of names"),
        (GOOD + '1,Peru,"[Peru, Peru]"\n', r":3: 'Peru' is listed 2 times, but named 1 times"),
        (GOOD + "1,Nigeria,[Niger]\n", r":3: 'Niger' is listed 1 times, but named 0 times"),
        (GOOD + "0,Peru,[Peru]\n", r":3: the ID '0' occurs twice"),
        (GOOD + "1,Peru\n", r":3: 2 cells in a table of 3 columns"),
        ("ID,Text\n0,Peru\n", r":1: no column 'Countries'"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "texts.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        KeywordCounting(path=str(path)).problems(0)
    assert "\n" not in str(caught.value)


def test_a_list_of_names_may_have_quotes_or_be_empty(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text(GOOD + "1,Nothing here,[]\n", encoding="utf-8")
    problems = KeywordCounting(path=str(path)).problems(0)
    assert [problem.target for problem in problems] == [{"Peru": 2, "Chile": 1}, {}]


@pytest.mark.parametrize("num", [1, 2, 4, 99])
def test_the_counts_of_all_parts_add_up(data: Path, num: int) -> None:
    published = KeywordCounting(path=str(data / "graph-of-thoughts" / "countries.csv")).problems(0)
    task = KeywordCounting(limit=10)
    for problem in [*published, *task.problems(0)]:
        parts = task.split(problem, num)
        assert len(parts) == min(num, len(sentences_of(problem.input)))
        assert " ".join(parts).split() == problem.input.split()
        counts = [count_names(part, problem.target) for part in parts]
        assert sum(map(Counter, counts), Counter()) == problem.target


def test_parts_are_asked_for_scored_and_added() -> None:
    task = KeywordCounting()
    parts = task.split(EXAMPLE, 2)
    assert parts == ["Peru is far.", "Chile and Peru are neighbours."]
    assert f"Text: {parts[1]}\n" in task.part_prompt(parts[1], "chat").text
    texts = ('{"Peru": 1}', '{"Chile": 2}', "?")
    thoughts = [
        Thought(EXAMPLE, (i,), text=text, part=True, data={"part": parts[min(i, 1)]}) for i, text in enumerate(texts)
    ]
    assert [task.score_part(thought).value for thought in thoughts] == [0, -2, -100]
    assert task.score_part(thoughts[0]).final
    assert task.aggregate_prompt(thoughts, "plain").text == 'Counts:\n{"Peru": 1}\n{"Chile": 2}\n{}\nSum:'
    with pytest.raises(UserError, match="put split in front of aggregate"):
        task.aggregate_prompt([decoded("{}")], "chat")


@pytest.mark.parametrize("values", [{"sentences": 0}, {"sentences": 257}, {"limit": 0}])
def test_fields_are_constrained(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(KeywordCounting).validate_python(values)
