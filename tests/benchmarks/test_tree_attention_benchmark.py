"""The benchmark's plumbing on a CPU: shapes, checks against the definition, one JSON line at the end."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import fasttree_trees, tree_attention
from benchmarks.attention_cases import fasttree_cases
from benchmarks.forests import Forest, levels, recorded_candidates, recorded_steps, speculative
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


def test_fasttree_trees_are_measured_instead_where_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    how = ["--fasttree", "--heads", "16/1", "--only", "1,10 /", "--repeats", "1", "--providers", "torch"]
    monkeypatch.setattr(sys, "argv", ["tree_attention", *how])
    tree_attention.main()
    (row,) = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert row["case"] == "1,10 / 4000,400"
    assert row["heads"] == [16, 1]
    assert row["error"] < 1e-4


def test_fasttree_trees() -> None:
    assert len({tree.name for tree in fasttree_trees.TREES}) == 15
    for tree, case in zip(fasttree_trees.TREES, fasttree_cases(), strict=True):
        plan = case.forest.plan()
        assert plan.num_rows == tree.widths[-1]
        assert plan.kv_tokens_read_tree == sum(w * t for w, t in zip(*tree, strict=True))
        assert set(plan.row_position.tolist()) == {sum(tree.tokens) - 1}


def node(tokens: int, start: int, end: int, *children: int) -> dict[str, object]:
    return {"value": tokens, "start": start, "end": end, "children": list(children)}


# Two searches in the format of DeFT's records. The first forks at the prompt, and one branch goes on at step 4. The
# second decodes nothing in step 3.
RECORD = [
    {"data": {"0": node(20, -19, 0, 1, 2), "1": node(3, 1, 3, 3), "2": node(5, 1, 5), "3": node(2, 4, 5)}},
    {"data": {"0": node(9, -8, 0, 1), "1": node(2, 1, 2, 2), "2": node(2, 4, 5)}},
]


def test_a_record_gives_the_forest_of_each_decode_step(tmp_path: Path) -> None:
    path = tmp_path / "ToT.json"
    path.write_text(json.dumps(RECORD))
    found = {(search, step): forest for search, step, forest in recorded_steps(path, every=1)}
    assert sorted(found) == [*((0, step) for step in range(1, 6)), (1, 1), (1, 2), (1, 4), (1, 5)]
    assert found[0, 3] == Forest([-1, 0, 0], [20, 3, 3], [0, 1, 1])
    assert found[0, 4] == Forest([-1, 0, 1, 0], [20, 3, 1, 4], [0, 0, 1, 1])
    assert found[1, 5] == Forest([-1, 0, 1], [9, 2, 2], [0, 0, 1])
    assert [step for search, step, _ in recorded_steps(path, every=3) if search == 0] == [1, 4]


def test_a_recorded_token_tree_gives_its_candidates(tmp_path: Path) -> None:
    path = tmp_path / "tree.json"
    path.write_text(json.dumps({"Tree_Structure": [[0], [0, 0], [1]]}))
    plan = speculative(10, recorded_candidates(path)).plan()
    assert plan.row_position.tolist() == [9, 10, 11, 10]


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
