"""The benchmark's plumbing on a CPU: shapes, checks against the definition, one JSON line at the end."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import tree_attention
from benchmarks.forests import levels, recorded_candidates, recorded_steps, speculative
from treereason.kernels.cpu.torch_backend import TorchBackend


def test_the_last_line_is_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["tree_attention", "--only", "1 trees", "--repeats", "1"])
    tree_attention.main()
    lines = capsys.readouterr().out.splitlines()
    result = json.loads(lines[-1])
    assert {row["provider"] for row in result["rows"]} == {"torch", "sdpa"}
    assert all(row["error"] < 1e-4 and row["p20"] <= row["p50"] <= row["p80"] for row in result["rows"])


def test_a_wrong_provider_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    right = TorchBackend.__call__
    monkeypatch.setattr(TorchBackend, "__call__", lambda self, q, *rest, **how: right(self, q * 1.5, *rest, **how))
    monkeypatch.setattr(sys, "argv", ["tree_attention", "--only", "1 trees", "--repeats", "1", "--providers", "torch"])
    tree_attention.main()
    (row,) = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert "wrong by" in row["failed"]


def test_shapes() -> None:
    plan = levels((1, 4, 16, 512), (1_024, 256, 128, 32)).plan()
    assert plan.num_rows == 512
    assert plan.kv_tokens_read_tree == 1_024 + 4 * 256 + 16 * 128 + 512 * 32
    guesses = speculative(100, [[0], [1], [0, 0]]).plan()
    assert guesses.row_position.tolist() == [99, 100, 101, 100]


def test_recorded_searches(published: Path) -> None:
    deft = published / "deft"
    for path in deft.glob("*ToT.json"):
        steps = list(recorded_steps(path, every=500))
        assert len({search for search, _, _ in steps}) > 40
        for _, _, forest in steps[::10]:
            plan = forest.plan()
            assert 1 <= plan.num_rows <= 25
            assert plan.node_tokens.min() >= 1
    assert speculative(10, recorded_candidates(deft / "APPS_tree_size64.json")).plan().num_rows == 64
