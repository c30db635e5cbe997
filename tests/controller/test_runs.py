"""Whole runs on the shipped model through the command line, and what they leave in the run folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.fakes import ROOT, slow
from treereason import events
from treereason.cli.main import main
from treereason.config.schema import EngineConfig
from treereason.controller import recording
from treereason.controller.model import _kv_tokens
from treereason.core import UserError
from treereason.display.base import STOPPING
from treereason.engine.engine import Engine
from treereason.engine.kv import capacity
from treereason.engine.kv.capacity import default_kv_tokens
from treereason.record.journal import read
from treereason.record.results import Results
from treereason.record.summary import Summary

KEYS = {"id", "status", "solved", "score", "answer", "tokens_decoded", "tokens_prefilled", "tokens_reused"}
SUMMARY_KEYS = {
    "task", "search", "model", "scorer", "seed", "problems", "solved", "failed", "mean_score",
    "single_sample_mean_score", "tokens_decoded", "tokens_prefilled", "tokens_reused", "kv_tokens_peak",
    "kv_tokens_read_tree", "kv_tokens_read_sequence", "seconds", "versions",
}  # fmt: skip


def run(folder: Path, *overrides: str) -> dict[str, Any]:
    code = main([f"hydra.run.dir={folder}", "display=none", "engine.threads=1", *overrides])
    assert code == 0
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_kv_pool_is_sized_by_the_memory_of_its_device(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "_free_memory_bytes", lambda: 4_000_000)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (8_000_000, 9_000_000))
    assert default_kv_tokens(torch.device(device), bytes_per_token=1_000) == {"cpu": 1_000, "cuda": 2_000}[device]


def test_more_kv_than_any_memory_holds_is_refused() -> None:
    with pytest.raises(UserError, match=r"engine.kv_gib=60000(.0)?: more than 268,435,456 tokens"):
        _kv_tokens(EngineConfig(kv_gib=60_000), bytes_per_token=1_000)


def test_a_run_leaves_results_a_summary_and_a_journal(tmp_path: Path) -> None:
    summary = run(tmp_path, "task=sorting", "task.length=12", "task.limit=4", "search.k=3")
    assert set(summary) >= SUMMARY_KEYS
    assert "launches" not in summary, "a CPU has neither graphs nor reasons for none"
    assert [line["id"] for line in lines(tmp_path)] == ["0", "1", "2", "3"]
    assert all(set(line) >= {*KEYS, "kv_tokens_peak"} for line in lines(tmp_path))
    assert summary["tokens_decoded"] == sum(line["tokens_decoded"] for line in lines(tmp_path))
    assert summary["tokens_prefilled"] == sum(line["tokens_prefilled"] for line in lines(tmp_path))
    assert summary["greedy_mean_score"] is not None
    journal = list(read(tmp_path / "journal.sqlite"))
    assert isinstance(journal[-1], events.RunDone)
    decoded = [e for e in journal if isinstance(e, events.ThoughtDecoded)]
    assert sum(e.tokens_decoded for e in decoded) >= summary["tokens_decoded"]


def test_one_seed_gives_the_same_bytes_however_much_decodes_at_once_and_another_seed_others(tmp_path: Path) -> None:
    common = ["task=few_shot", "task.examples=2", "task.operations=2", "task.limit=2", "search=self_consistency"]
    common.append("search.n=4")
    common.append("temperature=1.5")
    first, again, some, alone, other = (
        (run(tmp_path / name, *common, "baseline=none", option), (tmp_path / name / "results.jsonl").read_bytes())[1]
        for name, option in {
            "first": "seed=0",
            "again": "seed=0",
            "some": "engine.max_branches=5",
            "alone": "engine.max_branches=1",
            "other": "seed=1",
        }.items()
    )
    assert first == again == some == alone != other


def test_the_examples_are_stored_once_and_read_once_for_all_samples(tmp_path: Path) -> None:
    summary = run(tmp_path, "task=few_shot", "task.limit=3", "baseline=none", "search=self_consistency", "search.n=15")
    assert summary["kv_tokens_read_sequence"] / summary["kv_tokens_read_tree"] >= 5
    steps = [
        event.tokens_prefilled for event in read(tmp_path / "journal.sqlite") if isinstance(event, events.StepDone)
    ]
    own = [line["tokens_prefilled"] for line in lines(tmp_path)]
    assert sum(steps) - sum(own) > 5 * max(own), "the examples, once, of no problem's own"


def test_a_stepwise_search_continues_thoughts_on_their_own_tokens(tmp_path: Path) -> None:
    overrides = ["task=few_shot", "task.stepwise=true", "task.limit=3", "scorer=steps_hold", "search.k=3"]
    run(tmp_path, *overrides, "search.steps=8")
    created = [e for e in read(tmp_path / "journal.sqlite") if isinstance(e, events.ThoughtDecoded)]
    deeper = [e for e in created if len(e.thought) > 1]
    assert deeper
    # The newline that ended the parent's line is computed once for all its children; the rest is in the KV.
    assert all(e.tokens_prefilled <= 1 and e.tokens_reused > 100 for e in deeper)


def test_a_scorer_that_raises_or_hangs_fails_its_thought_and_the_run_goes_on(tmp_path: Path) -> None:
    scorer = tmp_path / "mine.py"
    scorer.write_text(
        "import time\n"
        "def picky(thought):\n"
        "    if thought.path[-1] == 0:\n"
        "        raise RuntimeError('not this one')\n"
        "    if thought.path[-1] == 1 and thought.problem.id == '0':\n"
        "        time.sleep(60)\n"
        "    return len(thought.text)\n"
    )
    common = ["task.length=6", "task.limit=2", "search=best_of_n", "search.n=3", "baseline=none"]
    summary = run(tmp_path / "run", *common, f"scorer={scorer}:picky", "scorer_timeout_s=1.0")
    failed = [e for e in read(tmp_path / "run/journal.sqlite") if isinstance(e, events.ThoughtFailed)]
    assert {(e.problem, e.thought) for e in failed} == {("0", (0,)), ("1", (0,)), ("0", (1,))}
    assert any("not this one" in e.error for e in failed)
    assert any("longer than 1" in e.error for e in failed)
    assert summary["failed"] == 0
    assert all(line["status"] == "done" for line in lines(tmp_path / "run"))


def test_a_problem_with_half_a_surrogate_pair_fails_alone(tmp_path: Path) -> None:
    task = tmp_path / "mine.py"
    task.write_text(
        "import json\n"
        "from treereason.core import Problem, Prompt\n"
        "from treereason.tasks.base import BaseTask\n"
        "class Ask(BaseTask):\n"
        "    scorer = 'none'\n"
        "    def problems(self, seed):\n"
        '        return [Problem(text, text) for text in json.loads(r\'["\\ud800", "sort 21="]\')]\n'
        "    def prompt(self, thought, style):\n"
        "        return None if thought.depth else Prompt(thought.problem.input, max_tokens=4)\n"
        "def none(thought):\n"
        "    return 0.0\n"
    )
    run(tmp_path / "run", f"task={task}", "search=single_sample")
    assert {line["id"]: line["status"] for line in lines(tmp_path / "run")} == {"\ud800": "failed", "sort 21=": "done"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_cleanly_and_keeps_what_is_done(number: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "treereason", f"hydra.run.dir={tmp_path}", "task.limit=2000", "engine.threads=1"]
    process = subprocess.Popen(
        [*command, "engine.parallel_problems=2", "display=plain"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    results = tmp_path / "results.jsonl"
    deadline = time.monotonic() + 60
    while not (results.exists() and results.read_text().count("\n") >= 3) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err
    assert "interrupted" in out
    assert str(tmp_path) in out
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["status"] == "interrupted"
    assert len(lines(tmp_path)) == summary["problems_done"] >= 3


def test_ctrl_c_between_the_model_and_the_first_problem_ends_cleanly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def results(folder: Path) -> Results:
        os.kill(os.getpid(), signal.SIGINT)
        return Results(folder)

    monkeypatch.setattr(recording, "Results", results)
    assert main([f"hydra.run.dir={tmp_path}", "display=plain", "engine.threads=1", "task.limit=1"]) == 130
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "interrupted"
    assert str(tmp_path) in capsys.readouterr().out


def test_the_first_ctrl_c_is_answered_before_the_running_step_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []

    def step(engine: Engine) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        said.append(capfd.readouterr().err)
        return whole_step(engine)

    whole_step = Engine.step
    monkeypatch.setattr(Engine, "step", step)
    assert main([f"hydra.run.dir={tmp_path}", "display=plain", "engine.threads=1", "task.limit=1"]) == 130
    assert said == [f"treereason: {STOPPING}\n"]
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "interrupted"


def test_a_second_ctrl_c_does_not_wait_for_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(_: Engine) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the step goes on")

    monkeypatch.setattr(Engine, "step", step)
    assert main([f"hydra.run.dir={tmp_path}", "display=plain", "engine.threads=1", "task.limit=1"]) == 130
    assert not (tmp_path / "summary.json").exists()


def test_ctrl_c_while_a_run_of_a_sweep_records_its_end_starts_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(summary: Summary, folder: Path, status: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        whole_write(summary, folder, status)

    whole_write = Summary.write
    monkeypatch.setattr(Summary, "write", write)
    sweep = ["-m", "seed=0,1", f"hydra.sweep.dir={tmp_path}"]
    assert main([*sweep, "display=none", "engine.threads=1", "task.limit=1", "task.length=4"]) == 130
    assert json.loads((tmp_path / "0/summary.json").read_text())["status"] == "done"
    assert not (tmp_path / "1").exists()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_line_on_stderr_is_never_held_back(unbuffered: str) -> None:
    program = """
import os, sys
from treereason.cli.stdout import outlive_readers
outlive_readers()
print("a line", file=sys.stderr)
os._exit(0)
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    assert done.stderr == "a line\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has it")
@pytest.mark.parametrize("display", ["plain", *slow("json")])
def test_a_run_whose_output_has_no_room_goes_on_records_all_and_says_so(display: str, tmp_path: Path) -> None:
    overrides = [f"hydra.run.dir={tmp_path}", "task.limit=2", "task.length=4", "baseline=none"]
    overrides += ["engine.threads=1", f"display={display}"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "treereason", *overrides], env=env, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.stderr.startswith("treereason: error: stdout cannot be written (No space left on device): the output")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "done"
    assert len(lines(tmp_path)) == 2


@pytest.mark.parametrize("display", ["json", *slow("plain")])
def test_a_run_whose_reader_goes_away_goes_on_and_records_all(display: str, tmp_path: Path) -> None:
    overrides = f"hydra.run.dir={tmp_path} task.limit=2 task.length=4 engine.threads=1 display={display}"
    command = f"{sys.executable} -m treereason {overrides} 2>&1 | head -n 1; exit ${{PIPESTATUS[0]}}"
    path = str(ROOT)
    done = subprocess.run(
        ["bash", "-c", command], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "done"
    assert len(lines(tmp_path)) == 2
