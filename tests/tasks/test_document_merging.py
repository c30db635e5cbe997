"""Document merging: formats, answers, the published file, errors, both scorers."""

import csv
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

import treereason as tr
from treereason.core import Finish, Problem, Prompt, Score, Task, Thought, UserError
from treereason.tasks.document_merging import SCORERS, DocumentMerging
from treereason.tasks.generators import contracts, text_overlap
from treereason.tasks.merge_scorers import merge_quality, word_overlap

SMALL = Problem("0", ["Alice pays Bob 4 dollars; Dan audits Bob;", "Dan audits Bob; Erin pays Dan 5 dollars;"])
SMALL_TARGET = ["Alice pays Bob 4 dollars", "Dan audits Bob", "Erin pays Dan 5 dollars"]


def decoded(problem: Problem, text: str) -> Thought:
    thought = Thought(problem, (0,), (Thought(problem),), text)
    thought.answer = DocumentMerging().parse(thought)
    return thought


def test_it_is_a_task_with_named_scorers() -> None:
    generated: Task = DocumentMerging()
    from_file: Task = DocumentMerging(path="documents.csv")
    assert generated.scorer == "merge_quality"
    assert from_file.scorer == "word_overlap"
    assert {generated.scorer, from_file.scorer} == set(SCORERS)
    assert merge_quality.oracle is True  # type: ignore[attr-defined]
    assert not hasattr(word_overlap, "oracle")


def test_the_embedded_prompt_is_that_of_the_shipped_model() -> None:
    prompt = DocumentMerging().prompt(Thought(SMALL), "embedded")
    assert prompt is not None
    assert prompt.shared + prompt.text == (
        "doc Alice pays Bob 4 dollars; Dan audits Bob;\ndoc Dan audits Bob; Erin pays Dan 5 dollars;\nmerge="
    )
    assert not prompt.appended
    assert DocumentMerging().prompt(decoded(SMALL, " Dan audits Bob;"), "embedded") is None


@given(st.integers(0, 200), st.integers(2, 4))
def test_a_perfect_merge_fits_and_is_perfect(seed: int, documents: int) -> None:
    task = DocumentMerging(limit=1, documents=documents)
    (problem,) = task.problems(seed)
    assert len(problem.input) == documents
    text = contracts.render_body(problem.target)
    prompt = task.prompt(Thought(problem), "embedded")
    assert prompt is not None
    words_digits_and_marks = len(text.replace(";", " ;").split()) + sum(map(str.isdigit, text)) * 2
    assert words_digits_and_marks < prompt.max_tokens
    thought = decoded(problem, text)
    assert task.solved(problem, thought.answer)
    assert merge_quality(thought) == Score(1.0, final=True)


def test_chat_prompts_merge_and_then_improve() -> None:
    task = DocumentMerging(limit=2)
    problems = task.problems(0)
    first, second = (task.prompt(Thought(problem), "chat") for problem in problems)
    assert first is not None
    assert second is not None
    assert first.shared == second.shared != ""
    assert all(body in first.text for body in problems[0].input)
    [(user, model)] = first.turns
    assert user.startswith(first.shared)
    assert task.parse(Thought(problems[0], (0,), text=model)) is not None
    plain = task.prompt(Thought(problems[0]), "plain")
    assert plain is not None
    assert plain.turns == ()
    assert all(body in plain.text for body in problems[0].input)
    improve = task.prompt(decoded(problems[0], "<merged>a {draft}</merged>"), "chat")
    assert improve is not None
    assert improve.shared != first.shared
    assert "a {draft}" in improve.text
    assert all(body in improve.text for body in problems[0].input)
    perfect = decoded(problems[0], "x")
    perfect.score = Score(1.0, final=True)
    assert task.prompt(perfect, "chat") is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (" a; b;", "a; b;"),
        ("Here: <merged>\na;\nb;\n</merged> done", "a;\nb;"),
        ("<merged>old</merged> better: <merged>new</merged>", "new"),
        ("<merged>cut off", "cut off"),
        ("<Merged>\nas graph of thoughts asks\n</Merged>", "as graph of thoughts asks"),
        ("", None),
        ("<merged> </merged>", None),
    ],
)
def test_answers_are_read(text: str, answer: str | None) -> None:
    assert decoded(SMALL, text).answer == answer


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Alice pays Bob 4 dollars;\nDan audits  Bob;\nErin pays Dan 5 dollars", 1.0),
        ("Dan audits Bob;", 2 * (1 / 3) / (4 / 3)),
        ("Dan audits Bob; Dan audits Bob;", 2 * (1 / 3) * 0.5 / (1 / 3 + 0.5)),
        ("Dan audits Bob; Dan eats Bob;", 2 * (1 / 3) * 0.5 / (1 / 3 + 0.5)),
        ("nonsense", 0.0),
        ("", 0.0),
        (";;;", 0.0),
    ],
)
def test_merge_quality_is_the_harmonic_mean(text: str, value: float) -> None:
    thought = decoded(SMALL, text)
    assert merge_quality(thought).value == pytest.approx(value)
    assert merge_quality(thought).final == (value == 1.0)
    solved = DocumentMerging().solved(Problem("0", SMALL.input, SMALL_TARGET), thought.answer)
    assert solved == (value == 1.0)


@given(st.one_of(st.text(), st.text("<merged>/; \nab{}"), st.text(".;\n abcdefg1")))
def test_no_text_breaks_parsing_or_scoring(text: str) -> None:
    thought = decoded(SMALL, text)
    assert thought.answer is None or thought.answer == thought.answer.strip() != ""
    for scorer in (merge_quality, word_overlap):
        assert 0 <= scorer(thought).value <= 1


def test_generated_problems_depend_on_the_seed_and_on_nothing_else() -> None:
    random.seed(1)
    state = random.getstate()
    many = DocumentMerging(limit=9).problems(5)
    assert random.getstate() == state
    assert DocumentMerging(limit=3).problems(5) == many[:3]
    assert DocumentMerging(limit=9).problems(6) != many
    for problem in many:
        assert problem.target == contracts.merge_documents([contracts.parse_clauses(body) for body in problem.input])


def test_word_overlap_orders_answers_as_a_reader_would() -> None:
    sources = (
        "The supplier delivers forty engines before March. Payment follows within thirty days of delivery.",
        "Payment follows within thirty days of delivery. Disputes are settled by a court in Hamburg.",
    )
    merged = (
        "The supplier delivers forty engines before March. Payment follows within thirty days of delivery. "
        "Disputes are settled by a court in Hamburg."
    )
    answers = [merged, " ".join(sources), sources[0], "Something else entirely was written here.", ""]
    values = [text_overlap.overlap(sources, answer) for answer in answers]
    assert values == sorted(values, reverse=True)
    assert values[0] == 1.0
    assert values[1] < 1.0
    assert values[2] < values[1]
    assert values[3] == values[4] == 0.0
    assert text_overlap.overlap(sources, merged + " " + merged) == pytest.approx(2 / 3)


def test_the_documents_of_graph_of_thoughts_are_read_and_scored(data: Path) -> None:
    path = data / "graph-of-thoughts" / "documents.csv"
    task = DocumentMerging(path=str(path))
    problems = task.problems(0)
    with path.open(newline="") as file:
        assert [problem.id for problem in problems] == [row["id"] for row in csv.DictReader(file)] != []
    assert all(len(problem.input) == 4 for problem in problems)
    for problem in problems[:10]:
        kept = [text_overlap.retention(problem.input, "\n".join(problem.input[:n])) for n in (1, 2, 3, 4)]
        assert kept == sorted(kept)
        assert kept[0] < 0.7
        assert kept[3] == 1.0
        assert 0 < word_overlap(decoded(problem, problem.input[0])).value < 0.8
        assert not task.solved(problem, problem.input[0])
    with pytest.raises(UserError, match="the shipped model merges generated contracts only"):
        task.prompt(Thought(problems[0]), "embedded")


GOOD = 'id,problem,document1,document2\n0,merge,"one\ntwo",three\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "1,merge,only one,\n", r"docs\.csv:4: fewer than two documents"),
        (GOOD + '1,merge,"only\none",\n', r"docs\.csv:4: fewer than two documents"),
        (GOOD + "0,merge,a,b\n", r":4: the id '0' occurs twice"),
        (GOOD + "1,merge\n", r":4: 2 cells in a table of 4 columns"),
        ("id,document1\n0,a\n", r":1: no column 'document2'"),
        ("id,document1,document2\n", r"has no problems in it"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "docs.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        DocumentMerging(path=str(path)).problems(0)
    assert "\n" not in str(caught.value)


def test_documents_may_span_lines(tmp_path: Path) -> None:
    path = tmp_path / "docs.csv"
    path.write_text(GOOD)
    assert DocumentMerging(path=str(path)).problems(0) == [Problem("0", ["one\ntwo", "three"])]


@pytest.mark.parametrize("values", [{"documents": 1}, {"documents": 9}, {"limit": 0}])
def test_fields_are_constrained(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(DocumentMerging).validate_python(values)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<merged>all of it</merged> And", "all of it"),
        ("<merged>a</merged> or <merged>b", None),
        ("<merged>half of", None),
        ("half of", None),
    ],
)
def test_of_a_text_that_the_limit_cut_off_only_closed_tags_hold_an_answer(text: str, answer: str | None) -> None:
    problem = DocumentMerging(limit=1).problems(0)[0]
    assert DocumentMerging().parse(Thought(problem, (0,), text=text, finish=Finish.LENGTH)) == answer


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<Redundancy>8</Redundancy> <Retained>9</Retained>", 2 * 8 * 9 / 17),
        ("First <retained> 6.5 </retained>\nthen\n<REDUNDANCY>\n10\n</REDUNDANCY>.", 2 * 6.5 * 10 / 16.5),
        ("<Redundancy>8/10</Redundancy><Retained>9 out of 10</Retained>", 2 * 8 * 9 / 17),
        ("<Redundancy>1</Redundancy> no: <Redundancy>8</Redundancy> <Retained>9</Retained>", 2 * 8 * 9 / 17),
        ("<Redundancy>0</Redundancy> <Retained>0</Retained>", 0.0),
        ("<Redundancy>0</Redundancy> <Retained>9</Retained>", 0.0),
        ("<Redundancy>8</Redundancy>", None),
        ("<Redundancy>8</Redundancy> <Retained>9", None),  # it may have become 9.5
        ("<Redundancy>11</Redundancy> <Retained>9</Retained>", None),
        ("<Redundancy>-8</Redundancy> <Retained>9</Retained>", None),
        ("<Redundancy>high</Redundancy> <Retained>9</Retained>", None),
        ("<Redundancy>" + "9" * 5000 + "</Redundancy> <Retained>9</Retained>", None),
        ("Redundancy: 8, retained: 9", None),
        ("", None),
    ],
)
def test_a_judges_grades_are_read_as_their_harmonic_mean(text: str, value: float | None) -> None:
    found = DocumentMerging().parse_value(text)
    assert found == (None if value is None else pytest.approx(value))


@given(st.one_of(st.text(), st.text("<>/Redundancy Retained0123456789.")))
def test_no_text_of_a_judge_breaks_the_reading(text: str) -> None:
    value = DocumentMerging().parse_value(text)
    assert value is None or 0 <= value <= 10


def test_a_judge_is_shown_the_documents_and_the_answer() -> None:
    task = DocumentMerging()
    thought = decoded(SMALL, "<merged>a {draft}</merged>")
    prompt = task.judge_prompt(thought, "plain")
    assert prompt is not None
    assert all(body in prompt.text for body in SMALL.input)
    assert "<draft>\na {draft}\n</draft>" in prompt.text
    assert task.parse_value(prompt.shared) is not None  # the form that it asks for is the one that is read
    assert task.judge_prompt(decoded(SMALL, ""), "chat") is None
    with pytest.raises(UserError, match="no prompt 'judge' for models of style 'embedded'"):
        task.judge_prompt(thought, "embedded")


def test_drafts_are_merged_together_with_their_documents() -> None:
    task = DocumentMerging()
    thoughts = [decoded(SMALL, text) for text in ("Dan audits Bob; x;", "Dan audits Bob; y;")]
    prompt = task.aggregate_prompt(thoughts, "chat")
    assert all(body in prompt.text for body in SMALL.input)
    assert "<draft 2>\nDan audits Bob; y;\n</draft 2>" in prompt.text
    terse = task.aggregate_prompt(thoughts, "embedded")
    assert terse.text == "doc Dan audits Bob; x;\ndoc Dan audits Bob; y;\nmerge="


def clause(above: Thought | None, text: str, stop: str = ";") -> Thought:
    """A step below another one, as the engine makes it; without `stop` the model has ended the text."""
    finish = Finish.STOP if stop else Finish.END
    root = Thought(SMALL) if above is None else above
    return Thought(
        SMALL, (*root.path, 0), (root,), text=text, stop=stop, finish=finish, appended=above is not None, prompt=""
    )


def test_stepwise_a_thought_is_one_clause_and_the_last_one_holds_them_all() -> None:
    task = DocumentMerging(stepwise=True)
    first = clause(None, " Dan audits Bob")
    second = clause(first, " x")
    end = clause(second, "", stop="")
    opening = task.prompt(Thought(SMALL), "embedded")
    assert opening is not None
    assert opening.stop == ("\n", ";")
    for step in (first, second):
        assert task.parse(step) is None
        assert task.prompt(step, "embedded") == Prompt("", appended=True, stop=(";",), max_tokens=64)
    end.answer = task.parse(end)
    assert end.answer == "Dan audits Bob; x;"
    assert task.prompt(end, "embedded") is None
    assert task.prompt(clause(None, "", stop=""), "embedded") is None


@pytest.mark.parametrize("opening", ["", "<merged>\n", "Here it is:\n<Merged> "])
def test_the_tag_in_front_of_the_first_step_is_no_clause_of_it(opening: str) -> None:
    steps = [clause(None, f"{opening}{SMALL_TARGET[0]}")]
    steps.append(clause(steps[0], f" {SMALL_TARGET[1]}"))
    assert merge_quality(steps[0]).value == pytest.approx(0.5)  # one of three kept, none invented
    assert merge_quality(steps[1]).value == pytest.approx(0.8)
    assert all(word_overlap(step).value > 0 for step in steps)


def test_a_step_has_the_quality_of_the_clauses_so_far_and_is_never_final() -> None:
    problem = DocumentMerging(limit=1).problems(0)[0]
    wanted = contracts.merge_documents([contracts.parse_clauses(body) for body in problem.input])
    thought = Thought(problem)
    for i, text in enumerate(wanted):
        thought = Thought(
            problem, (*thought.path, 0), (thought,), text=f" {text}", stop=";", finish=Finish.STOP, appended=i > 0
        )
        kept = (i + 1) / len(wanted)
        score = merge_quality(thought)
        assert score.value == pytest.approx(2 * kept / (1 + kept))
        assert not score.final


def test_beam_search_by_clauses_ends_with_whole_answers() -> None:
    run = tr.run(
        tr.tasks.DocumentMerging(documents=2, limit=3, stepwise=True), tr.search.Beam(n=8), tr.load("embedded"), seed=1
    )
    for problem in run.problems:
        assert problem.best is not None
        assert problem.best.depth > 1
        assert problem.best.transcript().endswith(f"merge= {problem.answer}")
