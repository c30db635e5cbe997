"""`treereason show`: the tree of a recorded run, its keys and what it prints."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from benchmarks.made_up_runs import folder
from tests.display.scripted_run import HOSTILE
from treereason.analysis.browser import HELP, Browser
from treereason.analysis.browser_frame import frame, tree_lines
from treereason.analysis.recorded_run import RecordedRun, of_events, read_run
from treereason.analysis.recorded_tree import RecordedTree
from treereason.cli.main import main
from treereason.display.keys import split
from treereason.events import Event, ProblemDone, ProblemStarted, RunStarted, ThoughtCreated, ThoughtDecoded


def grown(paths: Sequence[tuple[int, ...]], text: str = "text", best: tuple[int, ...] | None = None) -> RecordedRun:
    """A run of one problem, p, with thoughts of these paths."""
    events: list[Event] = [RunStarted("t", "s", "m", "sc", 0, 1), ProblemStarted("p", "2+2")]
    for path in paths:
        events.append(ThoughtCreated("p", path, (path[:-1],)))
        events.append(ThoughtDecoded("p", path, f"{text} {path}", None, 0.0, 0, 1, 0))
    events.append(ProblemDone("p", "done", True, 1.0, "4", best, None, len(paths), 0, 0, 0))
    return of_events(Path("run"), [(0.0, event) for event in events])


def drawn(browser: Browser, width: int = 80, height: int = 24) -> list[str]:
    console = Console(width=width, height=height, file=StringIO(), force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(frame(browser, width, height))
    return capture.get().splitlines()


WIDE = [(i,) for i in range(100)] + [(99, i) for i in range(30)] + [(99, 7, 0)]


def test_a_large_tree_opens_on_its_answer_in_the_rows_there_are() -> None:
    browser = Browser(grown(WIDE, best=(99, 7, 0)), most_rows=20)
    lines = drawn(browser)
    assert len(lines) == 24
    assert all(len(line) <= 80 for line in lines)
    assert any("◆ text (99, 7, 0)" in line for line in lines)
    assert browser.path == (99, 7, 0)


def test_keys_open_close_move_find_and_read() -> None:
    browser = Browser(grown(WIDE), most_rows=20)
    assert not browser.path
    for key in ("end", "right", "right"):
        browser.press(key)
    assert browser.path[:] == (99, 0)
    browser.press("left")
    assert browser.path == (99,)
    for key in "/(7,)":
        browser.press(key)
    browser.press("enter")
    assert browser.path == (7,)
    browser.press("enter")
    assert browser.reading
    assert "text (7,)" in "\n".join(drawn(browser))
    assert browser.press("escape")
    assert not browser.press("q")


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_question_mark_lists_every_key_whatever_the_width(width: int) -> None:
    browser = Browser(grown(WIDE), most_rows=20)
    browser.press("?")
    lines = drawn(browser, width)
    assert len(lines) == 24
    assert all(any(entry in line for line in lines) for entry in HELP)
    browser.press("?")
    browser.press("down")
    assert not any(HELP[2] in line for line in drawn(browser, width))


def test_all_can_be_opened_and_closed() -> None:
    browser = Browser(grown(WIDE), most_rows=20)
    browser.press("*")
    assert len(browser.rows) == 132
    browser.press("-")
    assert len(browser.rows) == 101


def test_hostile_text_cannot_steer_the_terminal() -> None:
    browser = Browser(grown([(0,)], text=HOSTILE, best=(0,)))
    for key in ("", "enter"):
        browser.press(key)
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set("".join(drawn(browser)))


def test_a_chain_deeper_than_the_terminal_is_wide_stays_in_its_lines() -> None:
    run = grown([(0,) * depth for depth in range(1, 400)], best=(0,) * 399)
    browser = Browser(run, most_rows=30)
    browser.press("*")
    assert all(len(line) <= 80 for line in drawn(browser))


def test_thoughts_whose_parents_the_journal_lacks_are_shown() -> None:
    tree = RecordedTree(grown([(0, 1, 2), (0, 1, 2, 3), (4,)]).problems["p"])
    assert tree.children[()] == [(0, 1, 2), (4,)]
    assert tree.below[()] == 3


def test_keys_are_read_by_name() -> None:
    assert split("j\x1b[A\x1b[6~\x1bOB\r\x7f漢\x1b[1;5X\x1b") == [
        "j", "up", "page-down", "down", "enter", "backspace", "漢", "escape"
    ]  # fmt: skip


def test_without_a_terminal_problems_or_thoughts_are_lines(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = recorded / "tree"
    assert main(["show", str(folder)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 8
    assert main(["show", str(folder), "3"]) == 0
    thoughts = [each for each in read_run(folder).problems["3"].thoughts.values() if not each.probe]
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(thoughts)
    assert main(["show", str(folder), "33"]) == 2
    assert "no problem is called 33" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["word " * 200, "é̂" * 400, "語" * 300, "word … " * 200])
def test_lines_are_cut_with_an_ellipsis_and_as_wide_as_the_screen(text: str) -> None:
    deep = [(0,) * depth for depth in range(1, 60)]
    lines = tree_lines(Browser(grown(deep, text)).tree, 80)[1:]
    assert {line.cell_len for line in lines} == {80}
    assert all(line.plain.rstrip().endswith("…") for line in lines)
    assert lines[-1].plain.startswith("…")


def test_styles_are_for_terminals_and_the_lines_are_the_same_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = folder(tmp_path, 30)
    assert main(["show", str(run), "p", "--plain"]) == 0
    plain = capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["show", str(run), "p", "--plain"]) == 0
    styled = capsys.readouterr().out
    assert styled != plain
    assert Text.from_ansi(styled).plain.splitlines() == plain.splitlines()
