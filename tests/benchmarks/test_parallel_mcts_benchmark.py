"""The benchmark of leaves in flight: equally many rollouts, fewer steps, and a last line that is JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import parallel_mcts, record


def test_several_leaves_in_flight_take_fewer_steps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    small = ["--operations", "2", "--problems", "2", "--n-iters", "8", "--parallel", "4", "--repeats", "1"]
    parallel_mcts.main([*small, "--record"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["one_over_several"] > 0
    assert result["rows"]["several"]["steps"] < result["rows"]["one"]["steps"]
    assert json.loads((tmp_path / "parallel_mcts.jsonl").read_text()) == result
