"""The line of a benchmark tells commit, processor, date and versions; recorded lines are kept one below the other."""

from __future__ import annotations

import datetime
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from benchmarks import record

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Nobody", "-c", "user.email=nobody@example.org")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_line_says_where_and_when_it_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(record, "commit", lambda _: "abc1234+")
    for seconds in (1.5, 2.5):
        record.finish("sums", {"seconds": seconds}, packages=("torch", "no-such-package"), record=seconds > 2)
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["seconds"], first["commit"]) == (1.5, "abc1234+")
    assert first["versions"] == {"torch": torch.__version__, "no-such-package": None}
    assert first["num_cores"] >= 1
    assert first["processor"] == record.processor("cpu") != ""
    date = datetime.datetime.fromisoformat(first["date"])
    assert abs(datetime.datetime.now(datetime.UTC) - date) < datetime.timedelta(days=1)
    [line] = (tmp_path / "results/sums.jsonl").read_text().splitlines()
    assert json.loads(line) == second
    record.finish("sums", {"rows": [1.5]}, packages=(), record=True, show=False)
    assert capsys.readouterr().out == f"recorded in {tmp_path / 'results/sums.jsonl'}\n"
    assert json.loads((tmp_path / "results/sums.jsonl").read_text().splitlines()[-1])["rows"] == [1.5]


def test_the_processor_is_the_first_model_name_or_the_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Fast: 9000\n\nmodel name\t: Slow\n")
    monkeypatch.setattr(record, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Big GPU")
    assert record.processor("cpu") == "Fast: 9000"
    assert record.processor("cuda") == "Big GPU"
    monkeypatch.setattr(record, "CPU_INFO", tmp_path / "none")
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "riscv")
    assert record.processor("cpu") == "riscv"


@needs_git
def test_a_commit_has_a_plus_when_files_differ_from_it_but_for_results(tmp_path: Path) -> None:
    assert record.commit(tmp_path) is None
    git(tmp_path, "init")
    (tmp_path / "benchmarks/results").mkdir(parents=True)
    (tmp_path / "benchmarks/results/sums.jsonl").write_text("")
    (tmp_path / "code.py").write_text("")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    name = git(tmp_path, "rev-parse", "--short", "HEAD")
    assert record.commit(tmp_path) == name
    (tmp_path / "benchmarks/results/sums.jsonl").write_text("a line\n")
    assert record.commit(tmp_path) == name
    (tmp_path / "code.py").write_text("changed")
    assert record.commit(tmp_path) == f"{name}+"


def test_a_copy_without_git_has_the_commit_that_the_environment_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TREEREASON_COMMIT", raising=False)
    assert record.commit(tmp_path) is None
    monkeypatch.setenv("TREEREASON_COMMIT", "abc1234")
    assert record.commit(tmp_path) == "abc1234"


@needs_git
def test_an_archive_inside_another_repository_has_no_commit(tmp_path: Path) -> None:
    git(tmp_path, "init")
    git(tmp_path, "commit", "--allow-empty", "-m", "first")
    (tmp_path / "archive").mkdir()
    assert record.commit(tmp_path / "archive") is None


def test_spread_is_smallest_median_and_largest() -> None:
    assert record.spread([3.0, 1.00004, 2.0]) == {"min": 1.0, "median": 2.0, "max": 3.0}
