"""The decode benchmark on a tiny model: its sides agree when greedy, one that errs is told, its last line is JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import decode, decode_llama_cpp, record
from benchmarks.decode_sides import Case, Run, engine_side, random_llama
from benchmarks.forests import levels
from treereason.engine.attention.sequence_plan import each_branch_alone

TINY = ["--layers", "1", "--hidden", "64", "--threads", "1", "--repeats", "2", "--samples", "3", "--tokens", "3"]


@pytest.mark.filterwarnings("error::FutureWarning")
def test_sides_agree_and_the_last_line_is_json(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr(decode_llama_cpp, "installed", lambda: False)
    decode.main([*TINY, "--prompts", "40,20", "--check", "--record"])
    lines = capsys.readouterr().out.splitlines()
    assert sum("decodes the tree's tokens" in line for line in lines) == 8
    result = json.loads(lines[-1])
    assert result["tree_over_llama_cpp"] is None
    for peer in ("generate", "shared_prefill", "sequence"):
        assert set(result[f"tree_over_{peer}"]) == {"40", "20"}
        row = result["rows"]["40"][peer]["over_tree"]
        assert 0 < row["min"] <= row["median"] <= row["max"]
    assert json.loads((tmp_path / "decode.jsonl").read_text()) == result


def test_a_side_that_errs_is_told() -> None:
    tree = engine_side(random_llama(torch.float32, layers=1, hidden=64), per_branch=False)
    case = Case(tuple(range(20)), samples=2, num_tokens=3, temperature=0.0)
    with pytest.raises(ValueError, match="other decodes other tokens"):
        decode.check(case, {"tree": tree, "other": lambda _: Run(1.0, 1.0, [[-1] * 3] * 2)})


def test_unknown_peers_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        decode.main(["--peers", "sequence,vllm"])
    assert "no vllm" in capsys.readouterr().err


def test_the_sequence_plan_reads_every_path_once_per_branch() -> None:
    forest = levels((1, 2, 4), (32, 16, 8))
    plan = forest.plan()
    alone = each_branch_alone(plan, np.array(forest.new_tokens, dtype=np.int32))
    assert plan.kv_tokens_read_tree == 32 + 2 * 16 + 4 * 8
    assert alone.kv_tokens_read_tree == 4 * (32 + 16 + 8)
    assert ((alone.node_hi - alone.node_lo) == 1).all()
