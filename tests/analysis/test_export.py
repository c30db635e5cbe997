"""Recorded runs for the viewers of others, and sinks that follow a run."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

import treereason as tr
from treereason.analysis.recorded_run import read_run
from treereason.cli.main import main
from treereason.engine.model.language_model import LanguageModel
from treereason.events import Event
from treereason.record.journal import read


def test_a_log_for_inspect_has_a_sample_per_problem(recorded: Path, tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    assert main(["export", str(recorded / "tree"), "--inspect", str(path)]) == 0
    log, run = json.loads(path.read_text()), read_run(recorded / "tree")
    assert (log["version"], log["status"]) == (2, "success")
    assert [sample["id"] for sample in log["samples"]] == list(run.problems)
    assert [sample["scores"]["solved"]["value"] == "C" for sample in log["samples"]] == [
        done.solved for done in run.done.values()
    ]


def test_an_export_that_cannot_be_written_says_nothing_of_run_folders(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nowhere" / "log.json"
    assert main(["export", str(recorded / "tree"), "--inspect", str(path)]) == 2
    why = f"{path} cannot be written (No such file or directory): free some space, or give another place"
    assert capsys.readouterr().err == f"treereason: error: {why}\n"


def test_inspect_reads_the_log(recorded: Path, tmp_path: Path) -> None:
    inspect = pytest.importorskip("inspect_ai.log")
    path = tmp_path / "log.json"
    assert main(["export", str(recorded / "tree"), "--inspect", str(path)]) == 0
    assert len(inspect.read_eval_log(str(path)).samples) == 8


def test_tensorboard_gets_the_scalars_of_a_run(recorded: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert main(["export", str(recorded / "tree"), "--tensorboard", str(tmp_path)]) == 0
    board = EventAccumulator(str(tmp_path))
    board.Reload()
    run = read_run(recorded / "tree")
    last = board.Tensors("search/solved")[-1]
    assert last.step == 8
    assert last.tensor_proto.float_val[0] == pytest.approx(run.summary["solved"] / 8)


def test_a_tracker_gets_every_event_that_is_recorded(tmp_path: Path, model: LanguageModel) -> None:
    seen: list[Event] = []
    task = tr.tasks.FewShot(operations=1, limit=1)
    tr.run(task, tr.search.SingleSample(), model, folder=tmp_path, threads=1, trackers=[seen.append])
    recorded = Counter(event.kind for event in read(tmp_path / "journal.sqlite"))
    assert Counter(event.kind for event in seen) == recorded


@pytest.mark.parametrize("words", [[], ["{tree}"], ["{tree}", "{tree}", "--inspect", "x"]])
def test_what_to_export_has_to_be_said(recorded: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main(["export", *(word.format(tree=recorded / "tree") for word in words)]) == 2
    assert "give one run and a form" in capsys.readouterr().err
