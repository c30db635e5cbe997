"""Crosswords: the board, files, proposals and values, scorers, and searches over it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import Outcome, ScriptedLines, run_search
from treereason.core import Finish, Problem, Prompt, Score, Task, Thought, ThoughtPath, UserError
from treereason.search import BestOfN, DepthFirst, TreeOfThoughts
from treereason.tasks import crossword_board
from treereason.tasks.crosswords import NO_WORD, SCORERS, Crosswords, game_solved, letters_right, words_right

TASK = Crosswords()
CLUES = [f"clue of h{i}" for i in range(1, 6)] + [f"clue of v{i}" for i in range(1, 6)]
ROWS = ("abuse", "based", "using", "sense", "edges")  # the columns are the same words
PROBLEM = Problem("0", CLUES, "".join(ROWS).upper())
LETTERS = Problem("1", CLUES, "ABCDEFGHIJKLMNOPQRSTUVWXY")
"""No words, but rows and columns that differ."""


def chain(*texts: str, problem: Problem = PROBLEM, finish: Finish = Finish.STOP) -> Thought:
    thought = Thought(problem)
    for text in texts:
        thought = Thought(problem, (*thought.path, 0), (thought,), text, finish=finish)
        thought.answer = TASK.parse(thought)
    return thought


def text_of(thought: Thought) -> str:
    return "\n".join(above.text for above in reversed(thought.ancestors()[:-1]))


def rows(*numbers: int) -> list[str]:
    return [f"h{i}. {ROWS[i - 1]}" for i in numbers]


def prompted(prompt: Prompt | None) -> Prompt:
    assert prompt is not None
    return prompt


def test_it_is_a_task_with_named_scorers() -> None:
    task: Task = TASK
    assert task.scorer in SCORERS
    assert all(scorer.oracle is True for scorer in SCORERS.values())  # type: ignore[attr-defined]


def test_rows_and_columns_are_where_they_belong() -> None:
    whole = "".join(LETTERS.target)
    words = {line: whole[places] for line, places in crossword_board.LINES.items()}
    assert list(words) == ["h1", "h2", "h3", "h4", "h5", "v1", "v2", "v3", "v4", "v5"]  # the order of the clues
    assert (words["h1"], words["h4"], words["v1"], words["v5"]) == ("ABCDE", "PQRST", "AFKPU", "EJOTY")


@pytest.mark.parametrize("order", ["h1 h2 h3 h4 h5", "v1 v2 v3 v4 v5", "h1 v1 h2 v2 h3 v3 h4 v4 h5"])
def test_words_fill_the_board_until_it_is_full(order: str) -> None:
    lines = [f"{line}. {LETTERS.target[crossword_board.LINES[line]]}" for line in order.split()]
    thought = chain(*lines[:-1], problem=LETTERS)
    assert thought.answer is None
    assert prompted(TASK.prompt(thought, "chat")).appended
    full = chain(*lines, problem=LETTERS)
    assert TASK.parse(full) == LETTERS.target
    assert TASK.solved(LETTERS, TASK.parse(full))
    assert TASK.prompt(full, "chat") is None


@pytest.mark.parametrize("line", ["v1. house", "h1. abuse", "h2. base", "h6. based", "nonsense", "h2 based"])
def test_a_word_that_does_not_fit_ends_the_game_with_what_stands(line: str) -> None:
    ended = chain(*rows(1), line)
    assert ended.answer == "ABUSE" + "_" * 20
    assert TASK.prompt(ended, "chat") is None
    assert TASK.propose_prompt(ended, "chat") is None


def test_a_text_that_the_model_ended_is_an_answer_and_one_that_was_cut_is_none() -> None:
    assert chain(*rows(1), finish=Finish.END).answer == "ABUSE" + "_" * 20
    for text in ("h2. bas", "h2. based"):
        cut = Thought(PROBLEM, (0, 0), (chain(*rows(1)),), text, finish=Finish.LENGTH)
        assert TASK.parse(cut) is None
        assert TASK.prompt(cut, "chat") is None


def test_a_thought_is_one_line_behind_the_last() -> None:
    below = prompted(TASK.prompt(chain(*rows(1, 2)), "chat"))
    assert (below.text, below.shared, below.appended, below.stop) == ("", "", True, ("\n",))
    assert prompted(TASK.prompt(chain(*rows(1), finish=Finish.GIVEN), "chat")).text == "\n"


def test_the_first_prompt_has_all_clues_in_order_and_there_is_none_for_the_shipped_model() -> None:
    prompt = prompted(TASK.prompt(Thought(PROBLEM), "plain"))
    assert prompt.text.startswith("h1. clue of h1\nh2. clue of h2\n")
    assert "\nv5. clue of v5\nWords:\n" in prompt.text
    with pytest.raises(UserError, match="no prompts for models of style 'embedded'"):
        TASK.prompt(Thought(PROBLEM), "embedded")


def test_proposing_shows_the_board_and_what_is_open() -> None:
    prompt = prompted(TASK.propose_prompt(chain("v1. abuse", "h2. based"), "plain"))
    assert "Board:\nA____\nBASED\nU____\nS____\nE____\n" in prompt.text
    opened = re.findall(r"^(\w\d)\. clue of \1: (\w+)$", prompt.text, re.MULTILINE)
    assert opened == [
        ("h1", "A____"), ("h3", "U____"), ("h4", "S____"), ("h5", "E____"),
        ("v2", "_A___"), ("v3", "_S___"), ("v4", "_E___"), ("v5", "_D___"),
    ]  # fmt: skip
    assert not prompt.appended


def test_proposals_fit_and_come_by_confidence() -> None:
    text = (
        "1. h2. Based (medium)\nh1. abuse (certain)\nv1. house (certain)\nv1. alone (low)\nv2. brown\n"
        "h2. based (high)\nv3. UNDER (certain)\nh7. seven\nv1. arose (perhaps)\n"
    )
    assert TASK.proposals(chain(*rows(1)), text) == ["v3. under", "h2. based", "v1. alone", "v2. brown", "v1. arose"]


@pytest.mark.parametrize("text", ["", "I do not know.", "h1. house"])
def test_where_no_word_is_proposed_the_game_ends_with_what_stands(text: str) -> None:
    [ending] = TASK.proposals(chain(*rows(1)), text)
    assert chain(*rows(1), ending, finish=Finish.GIVEN).answer == "ABUSE" + "_" * 20


def test_judging_asks_for_what_is_open_and_of_a_full_board_for_all() -> None:
    prompt = prompted(TASK.judge_prompt(chain(*rows(1)), "chat"))
    assert re.findall(r"^\w\d", prompt.text, re.MULTILINE) == ["h2", "h3", "h4", "h5", "v1", "v2", "v3", "v4", "v5"]
    full = prompted(TASK.judge_prompt(chain(*rows(1, 2, 3, 4, 5)), "chat"))
    assert len(re.findall(r"^\w\d\. clue of \w\d: [A-Z]{5}$", full.text, re.MULTILINE)) == 10


@pytest.mark.parametrize(
    ("text", "value"),
    [("h1: sure\nh2: sure", 1.0), ("h1: sure\nh2: maybe", 0.75), ("h1: sure\nh2: Impossible.\nh3: sure", 0.0),
     ("h1: not sure, maybe\n\nh2: sure", 0.75), ("surely", None), ("", None)],
)  # fmt: skip
def test_a_value_is_nought_where_a_clue_is_impossible(text: str, value: float | None) -> None:
    assert TASK.parse_value(text) == value


@pytest.mark.parametrize(
    ("texts", "letters", "words"),
    [
        ((), 0, 0),
        (("h1. ABCDE",), 5, 1),
        (("h1. ABCDX",), 4, 0),
        (("h1. ABCDE", "v1. AFKPU"), 9, 2),
        (("h1. ABCDE", "v1. XXXXX"), 5, 1),  # does not fit
        (("h1. ABCDE", "h2. FGHIJ", "h3. KLMNO", "h4. PQRST"), 20, 4),
        (("h1. ABCDE", "h2. FGHIJ", "h3. KLMNO", "h4. PQRST", "h5. UVWXZ"), 24, 8),
        (("h1. ABCDE", "h2. FGHIJ", "h3. KLMNO", "h4. PQRST", "h5. UVWXY"), 25, 10),
    ],
)
def test_scorers_count_right_letters_words_and_games(texts: tuple[str, ...], letters: int, words: int) -> None:
    thought, solved = chain(*texts, problem=LETTERS), letters == 25
    assert letters_right(thought) == Score(letters / 25, final=solved)
    assert words_right(thought) == Score(words / 10, final=solved)
    assert game_solved(thought) == Score(float(solved), final=solved)


def written(tmp_path: Path, content: object) -> Crosswords:
    path = tmp_path / "mini.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return Crosswords(path=str(path))


GAME = [CLUES, list("abcdeFGHIJKLMNOPQRSTUVWXY")]


def test_the_papers_file_is_read(tmp_path: Path) -> None:
    assert written(tmp_path, [GAME, GAME]).problems(0) == [Problem("0", CLUES, LETTERS.target), LETTERS]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "mini.json: not crosswords: "),
        ({}, "mini.json: not crosswords: not a list but {}"),
        ([], "mini.json has no problems in it"),
        ([GAME, [CLUES]], "mini.json: not crosswords: crossword 1: not a pair of clues and letters: "),
        ([GAME, [CLUES, "A" * 25]], "crossword 1: not a pair of clues and letters"),
        ([[CLUES[1:], GAME[1]]], "crossword 0: not ten clues: "),
        ([[[*CLUES[1:], 3], GAME[1]]], "crossword 0: not ten clues: "),
        ([[[*CLUES[1:], " "], GAME[1]]], "crossword 0: not ten clues: "),
        ([[CLUES, GAME[1][1:]]], "crossword 0: not 25 letters from A to Z: "),
        ([[CLUES, [*GAME[1][1:], "é"]]], "crossword 0: not 25 letters from A to Z: "),
        ([[CLUES, [*GAME[1][1:], "AB"]]], "crossword 0: not 25 letters from A to Z: "),
        ("[" * 100_000, "mini.json: not crosswords: "),
    ],
)
def test_a_bad_file_is_named_with_its_place(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(UserError) as told:
        written(tmp_path, content).problems(0)
    assert message in str(told.value)
    assert "\n" not in str(told.value)


def test_a_file_must_be_given() -> None:
    with pytest.raises(UserError, match=r"give it a file with task\.path=FILE"):
        Crosswords().problems(0)


def test_the_worked_example_of_the_prompts_is_a_crossword() -> None:
    solved = TASK.template("plain", "solve").shared.partition("Words:\n")[2]
    letters, fits = crossword_board.played(solved)
    assert fits
    assert "_" not in letters
    proposing = TASK.template("plain", "propose").shared
    board, words = proposing.partition("Board:\n")[2].partition("Open:\n")[::2]
    assert board.replace("\n", "") == letters[:5] + "_" * 20
    proposed = words.partition("Words:\n")[2]
    assert len(crossword_board.proposed(letters[:5] + "_" * 20, proposed)) == len(proposed.split("\n")) - 2
    judging = TASK.template("plain", "value").shared.rpartition("Judgements:\n")[2]
    assert TASK.parse_value(judging) == 0.0
    asked = {name: TASK.template("chat", name).examples[0] for name in ("solve", "propose", "value")}
    assert asked["solve"][1] == solved.strip()
    assert asked["propose"] == ({"board": board.strip(), "open": words.partition("\nWords:")[0]}, proposed.strip())
    assert asked["value"][1] == judging.strip()


def searched(search: Any, lines: Mapping[ThoughtPath, str], scorer: Callable[[Thought], Score]) -> Outcome:
    """A run over PROBLEM in which all thoughts that `lines` does not name are nonsense."""
    return run_search(search, lambda path: lines.get(path, "?"), TASK, scorer, problems=[PROBLEM], engine=ScriptedLines)


def test_tree_of_thoughts_fills_the_board_word_by_word() -> None:
    lines = {(1,) * i: row for i, row in enumerate(rows(1, 2, 3, 4, 5), start=1)}
    outcome = searched(TreeOfThoughts(k=2, b=1, steps=6), {**lines, (1, 0): "h2. beach"}, letters_right)
    assert (outcome.done.best, outcome.done.solved) == ((1, 1, 1, 1, 1), True)
    assert len(outcome.engine.expansions) == 5


def judge(thought: Thought) -> Score:
    """A judge that finds every word impossible below which no row of the solution fits; read as a model's text is."""
    letters, fits = crossword_board.played(text_of(thought))
    right = all(cell in ("_", letter) for cell, letter in zip(letters, PROBLEM.target, strict=True))
    value = TASK.parse_value("h1: sure\nh2: maybe" if right and fits else "h1: sure\nh2: impossible")
    assert value is not None
    return Score(value, final=letters == PROBLEM.target)


def test_depth_first_prunes_what_is_impossible_and_goes_back() -> None:
    first = {(0,): "h1. abuse", (0, 0): "v2. brown", (0, 1): "h2. beach"}  # below (0,) both are pruned
    second = {(1,): "v2. based", (1, 0): "h1. abuse", (1, 0, 1): "h2. based", (1, 0, 1, 0): "h4. sense"}
    third = {(1, 0, 1, 0, 0): "h3. using", (1, 0, 1, 0, 0, 0): "h5. edges"}
    outcome = searched(DepthFirst(k=2, v_th=0.25), {**first, **second, **third}, judge)
    assert [expansion.parent for expansion in outcome.engine.expansions] == [
        (), (0,), (1,), (1, 0), (1, 0, 1), (1, 0, 1, 0), (1, 0, 1, 0, 0),
    ]  # fmt: skip
    assert (outcome.done.best, outcome.done.solved) == ((1, 0, 1, 0, 0, 0), True)


def test_an_unfinished_board_is_an_answer_with_what_is_right_on_it() -> None:
    outcome = searched(BestOfN(n=2), {(0,): "h1. abuse", (1,): "h1. abuse", (1, 0): "h2. based"}, letters_right)
    assert (outcome.done.best, outcome.done.solved) == ((1, 0, 0), False)
    assert outcome.done.answer == "ABUSEBASED" + "_" * 15
    assert outcome.done.score == 10 / 25


def proposing(path: ThoughtPath) -> str:
    """A chat model: it proposes rows from the top, a wrong one for two of them as well, and three in all."""
    known = ("h1. abuse (low)\nh1. acute (high)", "1. h2. BASED (medium)\n2. h2. basic (certain)", "h3. using (low)")
    return known[len(path) - 1] if len(path) <= len(known) else "No other word comes to mind."


PROPOSE: list[Any] = [
    TreeOfThoughts(k=5, b=1, steps=10, generate="propose"),
    TreeOfThoughts(k=5, b=3, steps=10, generate="propose"),
    DepthFirst(k=5, generate="propose"),
]


@pytest.mark.parametrize("search", PROPOSE)
def test_a_search_answers_with_the_best_board_where_no_more_words_are_proposed(search: Any) -> None:
    outcome = run_search(search, proposing, TASK, letters_right, problems=[PROBLEM], style="chat")
    assert (outcome.done.answer, outcome.done.score) == ("ABUSEBASEDUSING" + "_" * 10, 15 / 25)
    assert all(each.prompt.text.startswith("Board:\n") for each in outcome.engine.expansions)


@given(st.one_of(st.text(), st.text("hv12345. abuseABUSE()\nimpossiblesuremaybe")))
def test_no_text_breaks_what_reads_a_model(text: str) -> None:
    for thought in (chain(text), chain(*rows(1), text)):
        assert thought.answer is None or len(thought.answer) == 25
        assert 0 <= letters_right(thought).value <= 1
        for each in TASK.proposals(thought, text):
            letters, _ = crossword_board.played(text_of(thought))
            assert each == NO_WORD or crossword_board.filled(letters, each[:2], each[4:]) is not None
        value = TASK.parse_value(text)
        assert value is None or 0 <= value <= 1
