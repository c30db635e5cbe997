"""SIGKILL at random moments: no record is lost, and the run that goes on ends as one that was never killed."""

from __future__ import annotations

import mmap
import os
import random
import shutil
import signal
import statistics
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.controller.interrupting import SORTING, STEPS, go_on, results, spec_of, told
from treereason import events
from treereason.controller import recording
from treereason.controller.experiment import run_experiment
from treereason.controller.model import load
from treereason.controller.run_spec import RunSpec
from treereason.core import Score, Thought
from treereason.engine.model.language_model import LanguageModel
from treereason.record.begun_run import begun_run
from treereason.record.journal import NAME, Journal, read_rows

CASES: dict[str, dict[str, Any]] = {
    "sorting": {"task": SORTING, "search": {"name": "tree_of_thoughts", "k": 3}},
    "pieces": {"task": SORTING, "search": {"name": "successive_halving"}, "scorer": "likelihood"},
    "judge": {"task": SORTING, "search": {"name": "best_of_n", "n": 3}, "scorer": "judge_yes_no"},
    "steps": {"task": STEPS, "search": {"name": "mcts"}, "scorer": "steps_hold", "baseline": "none"},
}


def short(thought: Thought) -> Score:
    """Stands for a task's scorer, in this process: one in a process of its own takes longer to start than the run."""
    return Score(-float(len(thought.text)), final=len(thought.text) % 7 == 0)


def spec_for(case: str, *, own_process: bool = False) -> RunSpec:
    spec = spec_of(**CASES[case])
    return spec if own_process or case == "judge" else replace(spec, scorer=short)


class Acknowledged(Journal):
    """Counts, in memory that outlives its process, the events that are committed."""

    count: mmap.mmap
    num_told = 0

    def __call__(self, event: events.Event) -> None:
        self.num_told += 1
        super().__call__(event)

    def commit(self) -> None:
        super().commit()
        self.count[:8] = self.num_told.to_bytes(8, "little")


def child(work: Callable[[], object], kill_after_s: float | None) -> bool:
    """Run in a forked process, killed after a while; returns whether it came to its end."""
    pid = os.fork()
    if not pid:
        try:
            work()
        except BaseException:  # which would go on in the test's own code
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0, "the run ended with an error"
    return os.WIFEXITED(status)


def lost_tokens(folder: Path, first: int) -> int:
    """Tokens of the steps from this row on that are in no answer."""
    decoded = 0
    for row in read_rows(folder / NAME, first, ("step_done", "thought_decoded")):
        tokens = int(row.data.split('"tokens_decoded":', 1)[1].split(",", 1)[0].rstrip("}"))
        decoded += tokens if row.kind == "step_done" else -tokens
    return max(decoded, 0)


def survives(case: str, kills: int, model: LanguageModel, folder: Path, *, own_process: bool = False) -> list[int]:
    """Kill a run so often, going on each time; returns the tokens that each kill lost."""
    spec, rng = spec_for(case, own_process=own_process), random.Random(case)
    whole, cut = folder / "whole", folder / "cut"
    Acknowledged.count = count = mmap.mmap(-1, 8)
    run_experiment(spec, model, whole)
    want = results(whole), told(whole)
    lost: list[int] = []
    longest_s, began = 0.05, 1

    def work() -> None:
        if (cut / NAME).exists() and begun_run(cut / NAME) is not None:
            go_on(spec, model, cut)
        else:
            run_experiment(spec, model, cut)

    while len(lost) < kills:
        started = time.monotonic()
        count[:8] = bytes(8)
        ended = child(work, rng.uniform(0, longest_s))
        rows = sum(1 for _ in read_rows(cut / NAME, began)) if (cut / NAME).exists() else 0
        assert rows >= int.from_bytes(count[:8], "little"), "an acknowledged event is lost"
        if ended:
            longest_s = time.monotonic() - started
            assert (results(cut), told(cut)) == want
            shutil.rmtree(cut)
            began = 1
            continue
        longest_s = min(5.0, longest_s * 1.02)
        lost.append(lost_tokens(cut, began) if rows else 0)
        began += rows
    if cut.exists():
        assert child(work, None)
        assert (results(cut), told(cut)) == want
    return lost


@pytest.fixture(scope="module")
def model(monkeypatch_module: pytest.MonkeyPatch) -> LanguageModel:
    monkeypatch_module.setattr(recording, "Journal", Acknowledged)
    return load(spec_of(**CASES["sorting"]).config.model)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def monkeypatch_module() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.mark.parametrize(("case", "kills"), [("sorting", 5), ("judge", 5)])
def test_a_killed_run_loses_nothing_that_it_had_recorded(
    case: str, kills: int, model: LanguageModel, tmp_path: Path
) -> None:
    assert len(survives(case, kills, model, tmp_path)) == kills


@pytest.mark.slow
def test_a_thousand_kills(model: LanguageModel, tmp_path: Path) -> None:
    lost: list[int] = []
    for case, kills in {"sorting": 240, "pieces": 240, "judge": 240, "steps": 240}.items():
        lost += survives(case, kills, model, tmp_path / case)
    lost += survives("sorting", 40, model, tmp_path / "process", own_process=True)
    lost.sort()
    print(f"{len(lost)} kills: tokens decoded again p50 {statistics.median(lost)}, p95 {lost[int(0.95 * len(lost))]}")  # noqa: T201
