"""`treereason.load` and `treereason.run`: what a run holds, and what it leaves as it was."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.utils.logging import is_progress_bar_enabled

import treereason as tr
from tests.fakes import ROOT
from tests.from_python.driving import SEARCH, TASK, answers, children, lines, run
from tests.importable import Shout
from treereason.cli.main import main
from treereason.engine.model.language_model import LanguageModel


def test_a_run_holds_the_numbers_and_files_of_the_command_line(model: LanguageModel, tmp_path: Path) -> None:
    typed, python = tmp_path / "typed", tmp_path / "python"
    options = ["task=sorting", "task.length=12", "task.limit=3", "search.k=3", "seed=5", "temperature=1.2"]
    assert main([*options, "display=none", f"hydra.run.dir={typed}"]) == 0
    run = tr.run(TASK, SEARCH, model, seed=5, temperature=1.2, folder=python)
    assert (typed / "results.jsonl").read_bytes() == (python / "results.jsonl").read_bytes()
    assert run.folder == python
    assert (python / "journal.sqlite").is_file()
    summary = json.loads((typed / "summary.json").read_text())
    assert summary == json.loads((python / "summary.json").read_text()) | {
        name: summary[name] for name in ("seconds", "tokens_per_second")
    }
    assert run.summary["greedy_mean_score"] == summary["greedy_mean_score"]
    assert (run.solved, run.failed, run.mean_score) == (summary["solved"], summary["failed"], summary["mean_score"])
    for problem, line in zip(run.problems, lines(typed), strict=True):
        assert list(problem.best.path if problem.best else ()) == line.pop("best")
        for name, value in line.items():
            got = getattr(problem, name)
            assert (list(got) if isinstance(got, tuple) else got) == value, name


def test_a_result_gives_the_thoughts_themselves(model: LanguageModel) -> None:
    [first, *_] = run(model).problems
    assert first.best in first.thoughts
    assert first.best is not None
    assert first.best.answer == first.answer == sorted(first.input) == first.target
    assert first.best.text in first.best.transcript()
    assert len(first.thoughts) == 3
    assert {thought.status for thought in first.thoughts} == {tr.Status.KEPT, tr.Status.PRUNED}
    assert sum(thought.cost.tokens_decoded for thought in first.thoughts) == first.tokens_decoded


def test_a_run_and_its_results_are_shown_in_one_line(model: LanguageModel) -> None:
    result = run(model)
    assert re.fullmatch(r"<Run tree_of_thoughts on sorting: 3 of 3 solved, mean score 0, \d+\.\d s>", repr(result))
    assert repr(result.problems[0]).startswith("<ProblemResult 0: solved, score 0.0, answer [")
    assert "\n" not in repr(result.problems[0])


def test_nothing_is_written_or_left_changed(
    model: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["notebook", "--no-such-flag"])
    before, others = state(), children()
    run(tr.load("embedded"), display="rich")
    assert state() == before
    assert list(tmp_path.iterdir()) == []
    assert children() == others
    run(model)
    assert state() == before
    assert "display=rich needs a terminal" in capfd.readouterr().out


def state() -> dict[str, Any]:
    """What a library may not leave changed."""
    loggers = {name: log for name, log in logging.root.manager.loggerDict.items() if isinstance(log, logging.Logger)}
    chosen = {name: log for name, log in loggers.items() if name.startswith(("transformers", "huggingface", "torch"))}
    return {
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "loggers": {name: (log.level, log.disabled, list(log.handlers)) for name, log in chosen.items()},
        "root": (logging.root.level, list(logging.root.handlers)),
        "bars": is_progress_bar_enabled(),
        "threads": torch.get_num_threads(),
        "arguments": list(sys.argv),
        "streams": (sys.stdout, sys.stderr),
    }


def test_two_runs_and_one_in_another_thread_give_the_same(model: LanguageModel) -> None:
    first, second = run(model), run(model)
    third: list[tr.Run] = []
    thread = threading.Thread(target=lambda: third.append(run(model)))
    thread.start()
    thread.join()
    assert answers(first) == answers(second) == answers(third[0])
    assert answers(run(model, seed=1)) != answers(first)


def test_a_running_asyncio_loop_does_not_matter(model: LanguageModel) -> None:
    async def cell() -> tr.Run:
        return run(model)

    assert answers(asyncio.run(cell())) == answers(run(model))


class Interrupted:
    """A search that is interrupted once the process that scores is at work.

    others: the processes that ran before.
    """

    def __init__(self, others: set[str]) -> None:
        self.others = others

    async def run(self, tree: tr.Tree) -> tr.Thought | None:
        await tree.score(await tree.expand([tree.root], 1))
        assert len(children() - self.others) == 1
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the interrupt was swallowed")


def test_ctrl_c_is_a_keyboard_interrupt_and_leaves_no_process_behind(model: LanguageModel) -> None:
    others = children()
    with pytest.raises(KeyboardInterrupt):
        run(model, search=Interrupted(others))
    assert children() == others


def test_the_number_of_cpu_threads_is_that_of_the_run_and_then_as_before(model: LanguageModel) -> None:
    seen = []

    def threads(_: tr.Thought) -> float:
        seen.append(torch.get_num_threads())
        return 0.0

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run(model, scorer=threads)
        assert set(seen) == {1}, "the embedded model is too small for more"
        assert torch.get_num_threads() == 2
        run(model, scorer=threads, threads=3)
        assert set(seen) == {1, 3}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_task_and_search_of_ones_own_need_no_registration(model: LanguageModel) -> None:
    @dataclass
    class First:
        given: Callable[[], int]  # what no configuration could hold

        async def run(self, tree: tr.Tree) -> tr.Thought | None:
            [thought] = await tree.expand([tree.root], self.given())
            await tree.score([thought])
            return thought

    found = run(model, task=Shout(limit=2), search=First(lambda: 1))
    assert (found.summary["task"], found.summary["search"], found.summary["scorer"]) == ("Shout", "First", "loud")
    assert all(problem.best and problem.score == len(problem.best.text) for problem in found.problems)


def test_plain_lines_do_not_name_commands(model: LanguageModel, capsys: pytest.CaptureFixture[str]) -> None:
    run(model, display="plain")
    out = capsys.readouterr().out
    assert "[3/3] 2: solved" in out
    assert "next:" not in out
    assert "results" not in out


def test_two_runs_do_not_write_into_one_folder(model: LanguageModel, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from treereason.record.folder import folder_lock\n"
        "with folder_lock(Path(sys.argv[1])): print(flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], cwd=ROOT, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(tr.UserError, match="another run is at work there"):
            run(model, folder=tmp_path)
        other.kill()
