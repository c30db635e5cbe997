"""Several processes share a run: the same results, also when one of them is killed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.controller.interrupting import SORTING, results, spec_of, told
from treereason.controller.experiment import run_experiment
from treereason.controller.model import load
from treereason.controller.run_spec import RunSpec
from treereason.controller.workers import run_with_workers
from treereason.core import UserError
from treereason.record.begun_run import begun_run
from treereason.record.journal import NAME, read_rows

CASE: dict[str, Any] = {
    "task": {**SORTING, "length": 24, "limit": 6},
    "search": {"name": "tree_of_thoughts", "k": 3},
    "scorer": "judge_yes_no",  # beside the search, so that no process has to start for it
}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes of workers."""
    found: list[subprocess.Popen[bytes]] = []

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            found.append(self)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    spec = spec_of(**CASE)
    run_experiment(spec, load(spec.config.model), folder)
    return folder


def with_two(**changes: Any) -> RunSpec:
    spec = spec_of(**{**CASE, **changes})
    return replace(spec, config=spec.config.model_copy(update={"workers": 2}))


def num_rows(folder: Path, kind: str) -> int:
    return sum(row.kind == kind for row in read_rows(folder / NAME)) if (folder / NAME).exists() else 0


def once(condition: Callable[[], bool], act: Callable[[], object]) -> Callable[[], bool]:
    """A `stopped` that never stops the run, but acts when the condition first holds."""
    acted: list[object] = []

    def stopped() -> bool:
        if not acted and condition():
            acted.append(act())
        return False

    return stopped


def test_a_killed_workers_problems_go_on_inside_with_another_one(
    whole: Path, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    kill = once(lambda: num_rows(tmp_path, "thought_decoded") > 4, lambda: os.kill(started[0].pid, signal.SIGKILL))
    summary = run_with_workers(with_two(), tmp_path, stopped=kill)
    assert started[0].returncode == -signal.SIGKILL
    assert summary["status"] == "done"
    assert results(tmp_path) == results(whole)
    assert told(tmp_path) == told(whole)
    assert num_rows(tmp_path, "problem_leased") > 2 * len(results(whole).splitlines()), "a problem was taken over"
    assert all(process.poll() is not None for process in started)


@pytest.mark.slow
def test_when_all_workers_are_dead_the_run_ends_with_one_line_and_can_go_on(
    whole: Path, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    def kill_all() -> None:
        for process in started:
            os.kill(process.pid, signal.SIGKILL)

    with pytest.raises(UserError, match="all workers have died"):
        run_with_workers(
            with_two(), tmp_path, stopped=once(lambda: num_rows(tmp_path, "thought_decoded") > 2, kill_all)
        )
    spec = spec_of(**CASE)
    run_experiment(spec, load(spec.config.model), tmp_path, before=begun_run(tmp_path / NAME))  # with one, here
    assert results(tmp_path) == results(whole)
    assert told(tmp_path) == told(whole)


@pytest.mark.slow
def test_a_mistake_that_a_worker_finds_is_told_as_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"engine\.kv_gib"):
        run_with_workers(with_two(engine={"threads": 1, "kv_gib": 65_000.0}), tmp_path)
    assert not (tmp_path / NAME).exists()
