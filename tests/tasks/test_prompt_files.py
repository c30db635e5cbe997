"""Prompts as YAML files: what a user's file may replace, and the line that each mistake gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from treereason.core import Prompt, Thought, UserError
from treereason.tasks import FewShot, Sorting


def first_prompt(path: Path, text: str, style: str = "chat") -> Prompt:
    path.write_text(text, encoding="utf-8")
    task = Sorting(length=4, limit=1, prompts=str(path))
    prompt = task.prompt(Thought(task.problems(0)[0]), style)
    assert prompt is not None
    return prompt


def test_a_users_file_replaces_a_prompt_with_system_text_and_turns(tmp_path: Path) -> None:
    text = 'chat:\n  solve: {text: "sort {numbers}", system: Be brief., turns: [[hello, hi]], stop: [";"]}\n'
    prompt = first_prompt(tmp_path / "mine.yaml", text)
    assert prompt.text.startswith("sort [")
    assert (prompt.system, prompt.turns, prompt.stop, prompt.shared) == ("Be brief.", (("hello", "hi"),), (";",), "")


def test_system_text_and_turns_are_filled_as_the_text_is_and_shared_is_not(tmp_path: Path) -> None:
    text = 'chat:\n  solve: {text: a, system: "{digits}", turns: [["{numbers}?", "{{}}"]], shared: "{digits}"}\n'
    prompt = first_prompt(tmp_path / "mine.yaml", text)
    digits = Sorting(length=4, limit=1).problems(0)[0].input
    assert (prompt.system, prompt.turns) == ("".join(map(str, digits)), ((f"{digits}?", "{}"),))
    assert (prompt.shared, prompt.text) == ("{digits}", "a")


def test_an_example_becomes_a_turn_that_asks_as_the_prompt_does(tmp_path: Path) -> None:
    text = """
chat:
  solve:
    system: Be brief.
    shared: "Sort {{}}: "
    text: "{numbers}, please"
    turns: [[hello, hi]]
    examples:
      - [{numbers: "[2, 1]"}, "{1, 2}"]
      - [{numbers: "[]"}, "{}"]
"""
    prompt = first_prompt(tmp_path / "mine.yaml", text)
    assert prompt.turns == (
        ("hello", "hi"),
        ("Sort {{}}: [2, 1], please", "{1, 2}"),
        ("Sort {{}}: [], please", "{}"),
    )
    assert prompt.shared + prompt.text == "Sort {{}}: " + str(Sorting(length=4).problems(0)[0].input) + ", please"


def test_a_plain_model_reads_the_chat_prompts_that_have_no_plain_ones() -> None:
    task = FewShot(limit=1)
    assert task.template("plain", "solve") != task.template("chat", "solve")
    assert task.template("plain", "verdict") == task.template("chat", "verdict")


def test_prompts_that_a_file_does_not_name_stay(tmp_path: Path) -> None:
    given = 'chat:\n  improve: {text: "again {attempt}"}\n'
    own = Sorting(length=4, limit=1)
    assert first_prompt(tmp_path / "mine.yaml", given) == own.prompt(Thought(own.problems(0)[0]), "chat")
    assert first_prompt(tmp_path / "mine.yaml", given, "embedded").text.startswith("sort ")


def test_a_file_may_bring_a_style_that_the_task_has_not(tmp_path: Path) -> None:
    assert first_prompt(tmp_path / "mine.yaml", 'plain: {solve: {text: "{digits} ->"}}', "plain").text.endswith(" ->")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("embeded: {solve: {text: a}}", "embeded: no such style of prompts; did you mean embedded?"),
        ("chat: [", "not YAML: while parsing"),
        ("[1, 2]", "the file: Input should be a valid dictionary"),
        ("chat: {solve: {text: 5}}", "chat.solve.text: Input should be a valid string, not 5"),
        ("chat: {solve: {text: a, texts: b}}", "chat.solve.texts: "),
        ("chat: {solve: {shared: a}}", "chat.solve.text: "),
        ("chat: {slove: {text: a}}", "chat.slove: no such prompt of this task; did you mean solve?"),
        ("chat: {solve: {text: '{nmbers}'}}", "nothing is called {nmbers}; there is {digits} {numbers}"),
        ("chat: {solve: {text: '{numbers}', examples: [[{digits: a}, b]]}}", "an example fills digits, the text needs"),
        ("chat: {solve: {text: '{numbers}', examples: [[{}, b]]}}", "an example fills nothing, the text needs numbers"),
        ("chat: {solve: {text: '{numbers}', examples: [[{numbers: 5}, b]]}}", "Input should be a valid string, not 5"),
        ("chat: {solve: {text: 'a } b'}}", "chat.solve.text: Single '}' encountered"),
        ("chat: {solve: {text: '{numbers.x}'}}", "{numbers.x} is not the name of a placeholder"),
        ("chat: {solve: {text: '{numbers!r}'}}", "is not the name of a placeholder"),
        ("chat: {solve: {text: a, system: '{nmbers}'}}", "chat.solve.system: nothing is called {nmbers}"),
        ("chat: {solve: {text: a, turns: [[a, '{']]}}", "chat.solve.turns: Single '{' encountered"),
        ("chat: {solve: {text: a}}\nchat: {improve: {text: b}}", "the key 'chat' occurs twice"),
        ("chat: &x {solve: {text: a}}\nplain: *x", "line 2: prompts have no aliases"),
        ("[" * 3000, "nested too deeply"),
        ("chat: {solve: {text: !!python/object:os.system a}}", "not YAML: could not determine a constructor"),
        ("\x00", "not YAML"),
    ],
)
def test_a_mistake_in_a_prompt_file_is_told_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as told:
        first_prompt(tmp_path / "mine.yaml", text)
    assert message in str(told.value)
    assert "mine.yaml: " in str(told.value)
    assert "\n" not in str(told.value)


def test_a_missing_prompt_file_is_told_by_its_name(tmp_path: Path) -> None:
    task = Sorting(prompts=str(tmp_path / "none.yaml"))
    with pytest.raises(UserError, match=r"no such file: .*none\.yaml"):
        task.prompt(Thought(task.problems(0)[0]), "chat")
