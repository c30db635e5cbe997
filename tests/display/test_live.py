"""The live display on a terminal: what it leaves behind, Ctrl-C, and log lines beside it."""

from __future__ import annotations

import logging
import time
from io import StringIO

import pytest

from tests.display.scripted_run import Script, half_way, run_done, run_started, screen_of, terminal
from treereason.display import display
from treereason.display.base import STOPPING


def next_frame(file: StringIO) -> None:
    """Wait until the live view has drawn once more."""
    size, give_up = len(file.getvalue()), time.monotonic() + 30
    while len(file.getvalue()) == size and time.monotonic() < give_up:
        time.sleep(0.01)


def test_the_screen_after_a_run_holds_its_log_lines_and_the_report_and_no_live_view() -> None:
    console, file = terminal()
    with display("auto", console) as shown:
        for event in Script().run():
            shown(event)
        for i in range(5):
            logging.getLogger("test").error("log line %d", i)
            next_frame(file)
        assert "tokens/s" in file.getvalue()
        shown(run_done())
    screen = screen_of(file.getvalue())
    lines = [line.rstrip() for line in screen.display]
    assert [sum(f"log line {i}" in line for line in lines) for i in range(5)] == [1] * 5
    assert sum("done: 100 problems in 1:42" in line for line in lines) == 1
    assert not any("tokens/s" in line for line in lines)
    assert not screen.cursor.hidden


def test_an_interrupt_leaves_the_terminal_sane() -> None:
    console, file = terminal()

    def run() -> None:
        with display("rich", console) as shown:
            try:
                for event in half_way(Script()):
                    shown(event)
                next_frame(file)
                raise KeyboardInterrupt
            finally:
                shown(run_done("interrupted", problems_done=34))

    with pytest.raises(KeyboardInterrupt):
        run()
    screen = screen_of(file.getvalue())
    assert not screen.cursor.hidden
    assert "tokens/s" in file.getvalue()
    assert "interrupted: 34 of 100 problems done, kept in outputs/" in "\n".join(screen.display)


def test_a_run_that_breaks_shows_no_report() -> None:
    console, file = terminal()

    def run() -> None:
        with display("rich", console) as shown:
            shown(run_started(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    screen = screen_of(file.getvalue())
    assert not screen.cursor.hidden
    assert "".join(screen.display).strip() == ""


def test_the_live_view_says_that_the_run_is_stopping() -> None:
    console, file = terminal(width=80)
    with display("rich", console) as shown:
        for event in half_way(Script()):
            shown(event)
        shown.stopping()
        next_frame(file)
    assert STOPPING in file.getvalue()


@pytest.mark.parametrize("height", [12, 24])
def test_a_ctrl_c_that_the_terminal_echoes_does_not_tear_the_live_view(height: int) -> None:
    console, file = terminal(80, height)
    with display("rich", console) as shown:
        for event in half_way(Script()):
            shown(event)
        next_frame(file)
        file.write("^C")
        next_frame(file)
        lines = screen_of(file.getvalue(), 80, height).display
    assert sum("tree_of_thoughts on" in line for line in lines) == 1
    assert not any("^C" in line for line in lines)
