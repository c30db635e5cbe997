"""Whatever a line on stderr quotes, it cannot steer the terminal."""

from __future__ import annotations

import io
import logging
import unicodedata
from pathlib import Path

import pytest
from rich.console import Console

from treereason.cli import run as cli_run
from treereason.cli.main import main
from treereason.cli.notes import complain
from treereason.config.schema import parse
from treereason.core import UserError

HOSTILE = "\x1b]0;owned\x07 \x9b31m \u202egnp \x1b[2J\x08"


def steering(text: str) -> list[str]:
    """What in a terminal's output is no letter, blank or line end."""
    return [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn")]


@pytest.mark.parametrize(
    "arguments",
    [
        [f"task={HOSTILE}"],
        [f"{HOSTILE}=1"],
        [f"--{HOSTILE}"],
        [f"task.path='{HOSTILE}'"],
        [f"--config-dir={HOSTILE}"],
        ["model=transformers", f"model.name='./{HOSTILE}'"],
        ["hydra.run.dir=/dev/null/\x1b[2J"],
    ],
    ids=["choice", "key", "flag", "path", "folder", "model", "run folder"],
)
def test_an_error_cannot_steer_the_terminal(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    error = capfd.readouterr().err
    assert error.startswith("treereason: error: ")
    assert error.count("\n") == 1
    assert steering(error) == []


def test_a_traceback_cannot_steer_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(HOSTILE)

    monkeypatch.setattr(cli_run, "_run", broken)
    assert main([f"hydra.run.dir={tmp_path}", "display=none"]) == 1
    error = capfd.readouterr().err
    assert error.startswith("Traceback")
    assert "\n  File " in error
    assert steering(error) == []


def test_a_model_whose_name_is_markup_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(cli_run, "Console", lambda **_: Console(file=file, force_terminal=True))
    values = {"task": {}, "search": {}, "model": {"name": "[/x]\x1b]0;owned"}, "display": "rich"}
    with cli_run._loading(parse(values)):
        pass
    assert "loading the model [/x]␛]0;owned" in file.getvalue()


def test_a_warning_that_no_display_takes_is_clean(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    assert logging.lastResort is not None
    record = logging.LogRecord("x", logging.WARNING, "", 0, HOSTILE, (), None)
    logging.lastResort.handle(record)
    assert steering(capsys.readouterr().err) == []


def test_a_long_error_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    assert complain(UserError("x" * 10**6)) == 2
    assert len(capsys.readouterr().err) < 2100
