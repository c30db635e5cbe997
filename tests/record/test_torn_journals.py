"""A journal that is cut short, or lies where nothing can be written: it opens or is refused by name."""

from __future__ import annotations

import errno
import fcntl
import logging
import shutil
from pathlib import Path

import pytest

from treereason.cli.main import main
from treereason.core import UserError
from treereason.events import Event, ProblemStarted, RunStarted, ThoughtCreated
from treereason.record import Journal, folder_lock, read
from treereason.record.begun_run import begun_run

STARTED = RunStarted("sorting", "tree_of_thoughts", "embedded", "oracle", 3, 9)
EVENTS: list[Event] = [
    STARTED,
    *(ProblemStarted(str(i), list(range(40))) for i in range(12)),
    *(ThoughtCreated(str(i % 12), (i,), ((),)) for i in range(30)),
]
LAST = 4096


def killed(folder: Path) -> Path:
    """The journal of a process that was killed: what it wrote lies beside the database."""
    path = folder / "journal.sqlite"
    journal = Journal(path)
    for event in EVENTS:
        journal(event)
    copied = folder / "killed"
    copied.mkdir()
    for name in ("journal.sqlite", "journal.sqlite-wal"):
        shutil.copy(folder / name, copied / name)
    journal.close()
    return copied / "journal.sqlite"


def closed(folder: Path) -> Path:
    path = folder / "journal.sqlite"
    with Journal(path) as journal:
        for event in EVENTS:
            journal(event)
    return path


def read_back(path: Path) -> list[Event] | None:
    """The events, through the readers and a process that goes on; None where it is refused by name."""
    try:
        found = list(read(path))
        begun_run(path)
        Journal(path).close()
    except UserError as error:
        return None if str(path) in str(error) else []
    return found


@pytest.mark.parametrize("step", [61, pytest.param(1, marks=pytest.mark.slow)])
def test_a_closed_journal_cut_anywhere_in_its_last_page_is_refused_by_name(step: int, tmp_path: Path) -> None:
    whole = closed(tmp_path).read_bytes()
    cut = tmp_path / "cut.sqlite"
    for missing in range(1, LAST + 1, step):
        cut.write_bytes(whole[:-missing])
        assert read_back(cut) is None, f"{missing} bytes are missing"
    assert read_back(tmp_path / "journal.sqlite") == EVENTS


@pytest.mark.parametrize("step", [61, pytest.param(1, marks=pytest.mark.slow)])
def test_a_killed_journal_cut_anywhere_in_its_last_page_has_a_beginning_and_says_so(
    step: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = killed(tmp_path)
    log = path.with_name("journal.sqlite-wal")
    whole, database = log.read_bytes(), path.read_bytes()
    for missing in range(0, LAST + 1, step):
        path.write_bytes(database)
        log.write_bytes(whole[: len(whole) - missing])
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            found = read_back(path)
        assert found is not None
        assert found == EVENTS[: len(found)], "a beginning"
        assert len(found) >= len(EVENTS) - 2
        assert ("ends in the middle of an event" in caplog.text) == (len(found) < len(EVENTS)), missing


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_folder_without_locks_is_refused_by_name(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with (
        pytest.raises(UserError, match=r"is on a file system without locks \(No locks available\)"),
        folder_lock(tmp_path),
    ):
        pass
    assert main(["resume", str(tmp_path)]) == 2
    assert f"{tmp_path} is on a file system without locks" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closed(tmp_path)

    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EROFS, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    assert main(["resume", str(tmp_path)]) == 2
    assert f"{tmp_path} cannot be written (Read-only file system)" in capsys.readouterr().err
