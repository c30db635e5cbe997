"""A run folder has one run at a time, and is free again when that is over or dead."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes import ROOT
from treereason.cli.main import main
from treereason.core import UserError
from treereason.record import folder_lock

OTHER_RUN = """
import sys
from pathlib import Path
from treereason.record import folder_lock
with folder_lock(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_run(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has locked the folder until its input ends."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", OTHER_RUN, folder], cwd=ROOT, text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "locked\n"
        yield process
        process.communicate()


@pytest.mark.parametrize(
    ("arguments", "locked"),
    [
        (["hydra.run.dir=run"], "run"),
        (["-m", "seed=0,1", "hydra.sweep.dir=sweep"], "sweep"),
        (["hydra.run.dir=sweep/0"], "sweep/0"),
    ],
)
def test_a_second_run_in_a_folder_is_refused_and_touches_nothing(
    arguments: list[str],
    locked: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / locked
    with another_run(folder):
        assert main([*arguments, "task.limit=1"]) == 2
        assert [path.name for path in folder.iterdir()] == [".lock"]
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"treereason: error: {folder}: another run is at work there: wait for its end, or choose")
    assert "hydra.run.dir" in error


def test_a_sweep_does_not_run_into_a_folder_in_which_a_single_run_is_at_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with another_run(tmp_path / "0"):
        assert main(["-m", "seed=0,1", f"hydra.sweep.dir={tmp_path}", "task.limit=1"]) == 2
    assert f"{tmp_path / '0'}: another run is at work there" in capsys.readouterr().err
    assert not (tmp_path / "0/results.jsonl").exists()


def test_a_folder_is_free_when_its_run_was_killed(tmp_path: Path) -> None:
    with another_run(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with folder_lock(tmp_path), folder_lock(tmp_path):
            pass


def test_a_folder_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(UserError, match=r"cannot be written \(.*\): choose another folder"), folder_lock(folder):
            pass


def test_a_folder_named_by_the_clock_is_made_once(tmp_path: Path) -> None:
    assert main([f"hydra.run.dir={tmp_path}/${{now:%f}}", "task.limit=1", "task.length=4", "display=none"]) == 0
    [folder] = tmp_path.iterdir()
    assert (folder / "summary.json").exists()
