"""The benchmark's plumbing on a CPU: shapes, checks against the definition, one JSON line at the end."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import tree_attention
from benchmarks.forests import levels, recorded_candidates, recorded_steps, speculative
from treereason.kernels.torch_path import TorchPath


def test_the_last_line_is_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["tree_attention", "--only", "1 trees", "--repeats", "1"])
    tree_attention.main()
    lines = capsys.readouterr().out.splitlines()
    result = json.loads(lines[-1])
    assert {row["provider"] for row in result["rows"]} == {"torch", "sdpa"}
    assert all(row["error"] < 1e-4 and row["p20"] <= row["p50"] <= row["p80"] for row in result["rows"])


def test_a_wrong_provider_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    right = TorchPath.__call__
    monkeypatch.setattr(TorchPath, "__call__", lambda self, q, *rest, **how: right(self, q * 1.5, *rest, **how))
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


def test_recorded_searches(data: Path) -> None:
    files = list((data / "deft").glob("*ToT.json"))
    assert files
    for path in files:
        records = [record["data"] for record in json.loads(path.read_text())]
        last = max(node["end"] for nodes in records for node in nodes.values())
        steps = list(recorded_steps(path, every=1 + last // 5))
        assert {search for search, _, _ in steps} == set(range(len(records)))
        for search, step, forest in steps[:: 1 + len(steps) // 20]:
            growing = [node for node in records[search].values() if node["start"] <= step <= node["end"]]
            plan = forest.plan()
            assert plan.num_rows == len(growing)
            assert plan.node_tokens.min() >= 1


def test_recorded_candidates(data: Path) -> None:
    [path] = (data / "deft").glob("*_tree_size*.json")
    num_tokens = json.loads(path.read_text())["Token_Tree_size"]  # the last token of the context is one of them
    assert speculative(10, recorded_candidates(path)).plan().num_rows == num_tokens
