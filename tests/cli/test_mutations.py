"""Command lines broken at random: each ends with exit code 0 or 2, soon, without a traceback, and runs no code."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import MINE
from tests.cli.mutations import command_line
from treereason.cli.main import main

LONGEST_S = 60
"""No line takes a second on an idle machine."""


@contextmanager
def _soon(line: list[str]) -> Iterator[None]:
    def late(_number: int, _frame: object) -> None:
        raise AssertionError(f"{line} takes more than {LONGEST_S} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LONGEST_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _check(numbers: range, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["treereason"])
    Path("mine (1).py").write_text(MINE)
    handlers = logging.getLogger().handlers[:]
    for number in numbers:
        line = command_line(number)
        with _soon(line):
            code = main(line)
        logging.getLogger().handlers[:] = handlers  # hydra's would write into the captured stderr of this test later
        out, err = capfd.readouterr()
        wrong = [word for word in ("Traceback", "\x1b", "\x07", "\u202e") if word in err]
        wrong += ["executed"] * Path("executed").exists()
        wrong += ["more than one line"] * (code == 2 and err.count("\n") != 1)
        assert (code in (0, 2), wrong) == (True, []), (number, line, code, err[-2000:], out[-500:])


@pytest.mark.usefixtures("runs")
def test_broken_lines_are_told_in_one_line(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    _check(range(30), capfd, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("hundred", range(1, 11))
@pytest.mark.usefixtures("runs")
def test_a_thousand_more_broken_lines(
    hundred: int, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _check(range(hundred * 100, hundred * 100 + 100), capfd, monkeypatch)
