"""Loggers while a display is open, and after it: nothing of other libraries stays muted or redirected."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from tests.display.scripted_run import Script, run_done, terminal
from treereason.display import display

MODES = ["rich", "plain", "json", "none"]


@pytest.fixture
def library() -> Iterator[logging.Logger]:
    """The logger of a library that writes to stderr itself, as transformers does."""
    logger = logging.getLogger("test.library")
    handler = logging.StreamHandler(sys.stderr)
    logger.addHandler(handler)
    logger.propagate = False
    yield logger
    logger.handlers.clear()
    logger.propagate = True


def everything() -> dict[str, Any]:
    """What a display could change outside of itself."""
    root = logging.getLogger()
    loggers = [root, *(entry for entry in root.manager.loggerDict.values() if isinstance(entry, logging.Logger))]
    return {
        "streams": (sys.stdout, sys.stderr),
        **{
            logger.name: (
                logger.level,
                logger.propagate,
                logger.disabled,
                {(handler, handler.level, getattr(handler, "stream", None)) for handler in logger.handlers},
            )
            for logger in loggers
        },
    }


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("breaks", [False, True])
def test_streams_and_loggers_are_afterwards_what_they_were(mode: str, breaks: bool, library: logging.Logger) -> None:
    console, _ = terminal()
    before = everything()
    assert before[library.name][3]
    try:
        with display(mode, console) as shown:
            changed = everything() != before
            for event in Script().run():
                shown(event)
            library.warning("a line")
            if breaks:
                raise ZeroDivisionError
            shown(run_done())
    except ZeroDivisionError:
        assert breaks
    assert changed == (mode in ("rich", "json"))
    assert everything() == before


@pytest.mark.parametrize("mode", MODES)
def test_a_library_writes_to_stderr_again_after_a_display(
    mode: str, library: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    library.handlers[0].setStream(sys.stderr)  # type: ignore[attr-defined]
    console, file = terminal()
    with display(mode, console):
        library.warning("during")
    assert (capsys.readouterr().err + file.getvalue()).count("during") == 1
    library.warning("after")
    assert "after" not in file.getvalue()
    assert capsys.readouterr().err == "after\n"


@pytest.mark.parametrize("mode", MODES)
def test_logs_that_go_to_no_screen_go_on_while_a_display_is_open(
    mode: str, library: logging.Logger, tmp_path: Path
) -> None:
    collected = StringIO()
    library.addHandler(logging.StreamHandler(collected))
    with closing(logging.FileHandler(tmp_path / "log")) as file, (tmp_path / "stream").open("w") as stream:
        library.addHandler(file)
        library.addHandler(logging.StreamHandler(stream))
        with display(mode, terminal()[0]):
            library.warning("a line")
    assert collected.getvalue() == (tmp_path / "log").read_text() == (tmp_path / "stream").read_text() == "a line\n"


@pytest.mark.parametrize("mode", MODES)
def test_a_library_that_begins_to_log_while_a_display_is_open_writes_to_stderr_afterwards(
    mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    late = logging.getLogger("test.late")
    late.propagate = False
    console, file = terminal()
    try:
        with display(mode, console):
            late.addHandler(logging.StreamHandler())
        late.warning("a line")
    finally:
        late.handlers.clear()
        late.propagate = True
    assert "a line" not in file.getvalue()
    assert capsys.readouterr().err == "a line\n"
