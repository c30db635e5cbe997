"""`treereason resume`, and sweeps that are given again: only what is missing is done."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from treereason.cli.main import main
from treereason.record.folder import folder_lock
from treereason.record.journal import NAME, read_rows

SMALL = ["task=sorting", "task.length=8", "task.limit=2", "search.k=2", "scorer=likelihood", "engine.threads=1"]
LISTS = 'ID,Unsorted,Sorted\n0,"[2, 1]","[1, 2]"\n1,"[4, 3]","[3, 4]"\n'
LINE = [*SMALL, "baseline=none", "display=none"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def cut(folder: Path, kind: str) -> None:
    """As if the run had been killed before the last event of this kind."""
    last = [row.id for row in read_rows(folder / NAME) if row.kind == kind][-1]
    with closing(sqlite3.connect(folder / NAME)) as journal:
        journal.execute("DELETE FROM events WHERE id >= ?", (last,))
        journal.commit()


def kinds(folder: Path) -> list[str]:
    return [row.kind for row in read_rows(folder / NAME)]


def test_a_run_that_was_cut_off_is_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*LINE, "hydra.run.dir=run"]) == 0
    run = Path("run")
    want = (run / "results.jsonl").read_bytes()
    cut(run, "thought_decoded")
    assert main(["resume", "run"]) == 0
    assert (run / "results.jsonl").read_bytes() == want
    assert kinds(run).count("run_resumed") == 1
    rows = len(kinds(run))
    assert main(["resume", "run"]) == 0
    assert "the run is done" in capsys.readouterr().err
    assert len(kinds(run)) == rows


def test_what_differs_is_refused_with_the_difference(capsys: pytest.CaptureFixture[str]) -> None:
    Path("lists.csv").write_text(LISTS)
    assert main([*LINE[:1], *LINE[4:], "task.path=lists.csv", "hydra.run.dir=run"]) == 0
    cut(Path("run"), "thought_decoded")
    assert main(["resume", "run", "search.k=9", "seed=5"]) == 2
    error = capsys.readouterr().err
    assert "search.k was 5, is 9; seed was 0, is 5" in error
    assert error.count("\n") == 1
    Path("lists.csv").write_text(LISTS.replace("3", "2"))
    assert main(["resume", "run"]) == 2
    assert "problems was" in capsys.readouterr().err
    assert main(["resume", "run", "--force", "display=none"]) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "give one run folder"),
        (["a", "b"], "give one run folder"),
        (["nowhere"], "nowhere is no folder"),
        (["."], ".: no run was recorded there (no journal.sqlite): give the folder of a run"),
        (["--forse", "."], "resume --forse: no such flag; did you mean --force?"),
    ],
)
def test_mistakes_are_one_line(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", *words]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_a_sweep_given_again_finishes_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["-m", *LINE, "seed=0,1,2", "hydra.sweep.dir=sweep"]
    assert main(line) == 0
    want = [Path(f"sweep/{i}/results.jsonl").read_bytes() for i in range(3)]
    cut(Path("sweep/1"), "thought_decoded")
    Path("sweep/2/journal.sqlite").unlink()
    whole = kinds(Path("sweep/0"))
    capsys.readouterr()
    assert main(line) == 0
    assert "sweep/0 holds this run, and it is done" in capsys.readouterr().err
    assert kinds(Path("sweep/0")) == whole
    assert kinds(Path("sweep/1")).count("run_resumed") == 1
    assert "run_resumed" not in kinds(Path("sweep/2"))
    assert [Path(f"sweep/{i}/results.jsonl").read_bytes() for i in range(3)] == want


def test_a_folder_where_another_run_is_at_work_is_refused_by_name(tmp_path: Path) -> None:
    assert main([*LINE, "hydra.run.dir=run"]) == 0
    cut(Path("run"), "thought_decoded")
    with folder_lock(Path("run")):
        code = "import sys; from treereason.cli.main import main; sys.exit(main(['resume', 'run']))"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert other.returncode == 2
    assert "run: another run is at work there" in other.stderr
