"""The benchmark of word problems on the shipped model: its rows are JSON, and name files by their last part."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import record, word_problems


def test_a_row_tells_what_was_solved_and_how_samples_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [{"question": f"1+{i}?", "answer": f"1+{i} = <<1+{i}={i + 1}>>{i + 1}\n#### {i + 1}"} for i in range(4)]
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    given = ["--model", "embedded", "--style", "plain", "--problems", str(path), "--limit", "3", "--n", "2"]
    word_problems.main([*given, "--max-tokens", "6", "--show", "1", "--record"])
    single, vote = map(json.loads, (tmp_path / "word_problems.jsonl").read_text().splitlines())
    assert (single["search"], vote["search"]) == ("SingleSample()", "SelfConsistency(n=2, vote='majority')")
    assert str(tmp_path) not in json.dumps([single, vote])
    for row, samples in ((single, 3), (vote, 6)):
        assert (row["file"], row["problems"], sum(row["samples"].values())) == ("test.jsonl", 3, samples)
        assert row["cut"] + row["unread"] == samples
        assert row["solved"] == row["any_sample_solved"] == {"value": 0.0, "interval": [0.0, 0.0]}
    assert "# 0: None, not 1 (" in capsys.readouterr().out
