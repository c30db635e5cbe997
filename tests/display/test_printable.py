"""Nothing that a model writes may steer the terminal."""

from __future__ import annotations

import logging
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.display.scripted_run import HOSTILE, problem_done, run_done, run_started, terminal
from treereason.display import display
from treereason.display.base import PrintableFormatter
from treereason.display.live import RichDisplay
from treereason.events import (
    Event,
    ProblemStarted,
    ThoughtCreated,
    ThoughtDecoded,
    ThoughtFailed,
    ThoughtKept,
)
from treereason.text import printable, printable_lines


@settings(deadline=None)
@given(st.text(st.characters(), max_size=400), st.integers(2, 400))
def test_no_text_can_steer_a_terminal(text: str, limit: int) -> None:
    line = printable(text, limit)
    assert len(line) <= limit
    assert not [c for c in line if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    line.encode()


def test_hostile_text_is_made_visible() -> None:
    assert printable(HOSTILE).startswith("␛[2J␛]0;owned␇ [red]not markup[/] [/] �gnihtyreve�")
    assert printable("a\n\t b\r\nc") == "a b c"
    assert printable("e" + "\u0301" * 50) == "é\u0301\u0301"
    assert printable("x" * 1000, 10) == "x" * 9 + "…"


def hostile_events() -> list[Event]:
    return [
        replace(run_started(2), task=HOSTILE, search=HOSTILE, model=HOSTILE),
        ProblemStarted(HOSTILE, {"text": HOSTILE}),
        ThoughtCreated(HOSTILE, (0,), ((),)),
        ThoughtDecoded(HOSTILE, (0,), HOSTILE, HOSTILE, 0.0, 0, 0, 0),
        ThoughtKept(HOSTILE, (0,)),
        ThoughtCreated(HOSTILE, (1,), ((), (0,))),
        ThoughtFailed(HOSTILE, (1,), HOSTILE),
        problem_done(HOSTILE, answer=HOSTILE, best=(0,)),
        ProblemStarted("p", 1),
        problem_done("p", status="failed", solved=False, error=HOSTILE),
    ]


@pytest.mark.parametrize("mode", ["rich", "plain", "json"])
def test_no_escape_of_a_model_reaches_the_terminal(mode: str) -> None:
    console, file = terminal()
    events = [*hostile_events(), replace(run_done(task=HOSTILE, search=HOSTILE), folder=HOSTILE)]
    with display(mode, console) as shown:
        for event in events:
            shown(event)
        if isinstance(shown, RichDisplay):
            console.print(shown.frame())
        logging.getLogger("test").warning("log of %s", HOSTILE)
    text = file.getvalue()
    text.encode()
    assert "\x1b[2J" not in text
    assert "\x1b]" not in text
    assert "\x9b" not in text
    assert "\u202e" not in text
    if mode == "rich":
        assert "log of ␛[2J" in text


def test_lines_and_their_indentation_stay() -> None:
    text = "Traceback\n  File\r\n\tline \x1b]0;owned\x07\n    \u202eabc\n"
    assert printable_lines("a\u2028b\u2029c") == "a�b�c"
    assert printable_lines(text) == "Traceback\n  File\n    line ␛]0;owned␇\n    �abc\n"


def test_log_lines_cannot_steer_a_terminal() -> None:
    record = logging.LogRecord("server", logging.WARNING, "", 0, "it said %s", ("\x1b[2J\x9bm",), None)
    assert PrintableFormatter().format(record) == "it said ␛[2J�m"
