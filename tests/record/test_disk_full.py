"""A disk that takes no more ends a run with one line, and what is written stays whole."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from treereason.cli.main import main
from treereason.core import UserError
from treereason.events import Event, ProblemDone, ProblemStarted, RunStarted, ThoughtKept
from treereason.record import Journal, Results, Summary, read
from treereason.record.folder import ELSEWHERE

FULL = r"cannot be written \(.*\): free some space, or choose another folder with hydra\.run\.dir"
STARTED = RunStarted("sorting", "tree_of_thoughts", "embedded", "oracle", 3, 9)


@contextmanager
def free_bytes(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def done(problem: str, answer: str) -> ProblemDone:
    return ProblemDone(problem, "done", True, 1.0, answer, (0,), None, 1, 2, 3, 4)


def test_a_journal_on_a_full_disk_keeps_what_it_took_and_has_no_gap(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    taken: list[Event] = [ProblemStarted(str(number), "x" * 2000) for number in range(20)]
    with Journal(path) as journal:
        for event in taken:
            journal(event)
        with free_bytes(path.with_name(f"{path.name}-wal").stat().st_size), pytest.raises(UserError, match=FULL):
            journal(ProblemStarted("a", "x" * 20_000))
        with pytest.raises(UserError, match=FULL):
            journal(ThoughtKept("a", (0,)))
    assert list(read(path)) == taken


def test_a_journal_that_does_not_fit_is_told_in_one_line(tmp_path: Path) -> None:
    with free_bytes(1000), pytest.raises(UserError, match="cannot be used as a journal"):
        Journal(tmp_path / "journal.sqlite")


def test_results_on_a_full_disk_hold_whole_lines_and_in_the_end_what_fits_again(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with Results(tmp_path) as results:
        for event in (STARTED, *(ProblemStarted(name, 1) for name in "abc"), done("a", "short")):
            results(event)
        with free_bytes(path.stat().st_size + 500), pytest.raises(UserError, match=FULL):
            results(done("b", "long" * 1000))
        assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["a"]
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["a", "b"]


def test_a_summary_that_does_not_fit_leaves_no_half_of_it(tmp_path: Path) -> None:
    summary = Summary()
    summary(STARTED)
    with free_bytes(100), pytest.raises(UserError, match=FULL):
        summary.write(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [0, 100_000])
def test_a_run_on_a_full_disk_ends_with_one_line(size: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = ["display=none", "engine.threads=1", "task.limit=100", "task.length=8"]
    with free_bytes(size):
        assert main([f"hydra.run.dir={tmp_path}", *overrides]) == 2
    error = capsys.readouterr().err
    assert error.startswith("treereason: error: ")
    assert error.endswith(f"free some space, or {ELSEWHERE}\n")
    assert error.count("\n") == 1
    if size:
        assert isinstance(next(read(tmp_path / "journal.sqlite")), RunStarted)
        assert not (tmp_path / "results.jsonl").exists(), "no problem was done"
        assert not (tmp_path / "summary.json").exists()
