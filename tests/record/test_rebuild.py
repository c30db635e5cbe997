"""Results and summary made anew from the journal of a run that was killed."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.fakes import ROOT
from treereason.cli.main import main
from treereason.core import UserError
from treereason.record.journal import Journal, read
from treereason.record.rebuild import rebuild

RUN = ["task=sorting", "task.length=8", "task.limit=4", "search=best_of_n", "search.n=2", "display=none"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one problem, to be copied."""
    folder = tmp_path_factory.mktemp("recorded")
    assert main([*RUN, f"hydra.run.dir={folder}", "task.limit=1"]) == 0
    return folder


def test_a_rebuilt_run_is_the_run(tmp_path: Path) -> None:
    assert main([*RUN, f"hydra.run.dir={tmp_path}"]) == 0
    files = [tmp_path / "results.jsonl", tmp_path / "summary.json"]
    before = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
    assert rebuild(tmp_path) == 4
    assert files[0].read_bytes() == before[0]
    figures = [json.loads(data) for data in (before[1], files[1].read_bytes())]
    for each in figures:
        del each["seconds"], each["tokens_per_second"]
    assert figures[0] == figures[1]


def test_a_folder_without_a_run_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no run was recorded there \(no journal\.sqlite\): give the folder of a run"):
        rebuild(tmp_path)
    for folders, told in (([str(tmp_path)], "no run was recorded there"), ([], "give the run folders")):
        command = [sys.executable, "-m", "treereason.record.rebuild", *folders]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
        assert told in done.stderr


@pytest.mark.parametrize(
    "change",
    [
        "data = '{'",
        "data = x'fffe'",
        f"data = '{'[' * 100_000}'",
        "data = json_set(data, '$.tokens_decoded', 'x')",
        "data = json_set(data, '$.solved', json('[1]'))",
        "data = json_set(data, '$.thoughts_failed', NULL)",
        "data = json_set(data, '$.problem', json('{}'))",
        "data = json_set(data, '$.problem', 3)",
        "data = json_set(data, '$.finishes', json('{\"end\": \"x\"}'))",
        f'data = replace(data, \'"tokens_decoded":\', \'"tokens_decoded":{10**400},"x":\')',
        "time = 1e308",
        "time = 'x'",
    ],
)
def test_an_event_that_cannot_be_read_is_named_in_one_line(change: str, recorded: Path, tmp_path: Path) -> None:
    shutil.copytree(recorded, tmp_path, dirs_exist_ok=True)
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as db:
        db.execute(f"UPDATE events SET {change} WHERE kind = 'problem_done'")
        db.commit()
    with pytest.raises(UserError, match=r"event \d+ \(problem_done\) cannot be read: ") as raised:
        rebuild(tmp_path)
    assert str(raised.value).isprintable()


def test_a_closed_journal_is_one_file_that_opens_where_nothing_can_be_written(tmp_path: Path) -> None:
    assert main([*RUN, f"hydra.run.dir={tmp_path}", "task.limit=1"]) == 0
    path = tmp_path / "journal.sqlite"
    assert not list(tmp_path.glob("journal.sqlite-*"))
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
    tmp_path.chmod(0o500)
    try:
        assert list(read(path))
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("locked_s", [1, pytest.param(6, marks=pytest.mark.slow)])  # sqlite3 itself waits for 5
def test_a_journal_that_another_program_has_locked_is_waited_for(locked_s: int, tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    from treereason.events import ProblemStarted

    with Journal(path) as journal:
        journal(ProblemStarted("a", 1))
        code = (
            "import sqlite3, sys, time; db = sqlite3.connect(sys.argv[1], isolation_level=None); "
            "db.execute('BEGIN IMMEDIATE'); print(1, flush=True); time.sleep(float(sys.argv[2])); db.execute('COMMIT')"
        )
        command = [sys.executable, "-c", code, str(path), str(locked_s)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ}) as other:
            assert other.stdout is not None
            other.stdout.readline()
            journal(ProblemStarted("b", 2))
    assert [event.problem for event in read(path) if isinstance(event, ProblemStarted)] == ["a", "b"]
