"""Which display a mode gives, in a terminal, a pipe and a notebook."""

from __future__ import annotations

import sys
import time
from importlib.machinery import ModuleSpec
from io import StringIO
from types import ModuleType
from typing import Any, ClassVar

import pytest
from rich.console import Console

from tests.display.scripted_run import Script, half_way, pipe, problem_done, run_done, run_started, terminal
from treereason.display import display, modes
from treereason.display.base import STOPPING
from treereason.display.live import RichDisplay
from treereason.display.plain import PlainDisplay
from treereason.events import ProblemStarted


def test_a_mode_is_chosen_by_where_stdout_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert isinstance(display("auto", terminal()[0]), RichDisplay)
    assert isinstance(display("rich", terminal()[0]), RichDisplay)
    assert isinstance(display("plain", terminal()[0]), PlainDisplay)
    console, file = pipe()
    assert isinstance(display("auto", console), PlainDisplay)
    assert file.getvalue() == ""
    assert isinstance(display("rich", console), PlainDisplay)
    assert file.getvalue() == "display=rich needs a terminal, so plain lines follow\n"
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert isinstance(display("auto", Console(file=StringIO())), PlainDisplay)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(display("auto", terminal()[0]), PlainDisplay)
    with pytest.raises(ValueError, match="loud"):
        display("loud", console)


def test_none_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    console, file = terminal()
    with display("none", console) as shown:
        for event in [*Script().run(), run_done()]:
            shown(event)
    assert file.getvalue() == ""
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("mode", ["plain", "json", "none"])
def test_displays_without_a_live_view_say_on_stderr_that_the_run_is_stopping(
    mode: str, capfd: pytest.CaptureFixture[str]
) -> None:
    console, file = pipe()
    with display(mode, console) as shown:
        shown.stopping()
    assert (file.getvalue(), *capfd.readouterr()) == ("", "", f"treereason: {STOPPING}\n")


class Widget:
    """An output cell of ipywidgets: keeps what is shown while it is entered."""

    made: ClassVar[list[Widget]] = []

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.open = self.closed = False
        Widget.made.append(self)

    def __enter__(self) -> None:
        self.open = True

    def __exit__(self, *_error: object) -> None:
        self.open = False

    def clear_output(self, wait: bool) -> None:
        assert wait, "the cell would flicker"

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A stand-in for a notebook with ipywidgets; what is shown in the cell itself."""
    shown_in_cell: list[str] = []

    def show(thing: Any) -> None:
        if not isinstance(thing, Widget):
            text = thing._repr_mimebundle_(None, None)["text/plain"]
            next((widget.shown for widget in Widget.made if widget.open), shown_in_cell).append(text)

    modules: dict[str, dict[str, Any]] = {
        "ipywidgets": {"Output": Widget},
        "IPython": {},
        "IPython.display": {"display": show},
    }
    for name, content in modules.items():
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(Widget, "made", [])
    return shown_in_cell


def test_a_notebook_redraws_an_output_of_its_own_and_then_shows_the_report(cell: list[str]) -> None:
    console = Console(force_jupyter=True, file=StringIO(), color_system=None, height=30)
    with display("rich", console) as shown:
        assert isinstance(shown, RichDisplay)
        for event in half_way(Script()):
            shown(event)
        give_up = time.monotonic() + 30
        while not any("tokens/s" in text for widget in Widget.made for text in widget.shown):
            assert time.monotonic() < give_up
            time.sleep(0.01)
        shown(run_done())
    [widget] = Widget.made
    assert widget.closed
    assert sum("done: 100 problems" in text for text in cell) == 1
    assert not any("tokens/s" in text for text in cell)


def test_a_notebook_that_cannot_redraw_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    file = StringIO()
    console = Console(force_jupyter=True, file=file)
    assert isinstance(display("auto", console), PlainDisplay)
    with display("rich", console) as shown:
        for event in [run_started(1), ProblemStarted("p", 1), problem_done("p")]:
            shown(event)
    assert "[1/1] p: solved" in file.getvalue()


def test_a_live_view_in_a_notebook_is_no_taller_than_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    heights: list[int] = []

    def can_redraw(console: Console) -> bool:
        heights.append(console.height)
        return False

    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr(modes, "can_redraw", can_redraw)
    display("auto")
    assert heights == [modes.NOTEBOOK_HEIGHT]
