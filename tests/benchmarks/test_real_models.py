"""The table of every task on a real model: its rows on few problems, and the page that shows those recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import real_models, record
from tests.fakes import ROOT

PAGE = (ROOT / "docs/real-models.md").read_text(encoding="utf-8")


def test_a_row_counts_what_ended_the_texts_and_what_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    small = "--model embedded --task sorting arithmetic --search greedy self_consistency --problems 2 --record"
    real_models.main(small.split())
    rows = [json.loads(line) for line in (tmp_path / "real_models.jsonl").read_text().splitlines()]
    assert [(row["task"], row["search"]) for row in rows] == [
        (task, search) for task in ("sorting", "arithmetic") for search in ("greedy", "self_consistency")
    ]
    for row in rows:
        assert sum(row["finishes"].values()) >= row["completions"] == (2 if row["search"] == "greedy" else 10)
        assert row["empty"] == row["unreadable"] == 0
        assert 0 <= row["solved"] <= row["problems"] == 2
    capsys.readouterr()
    real_models.main(["--table"])
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 2 + len(rows)
    assert table[2].startswith("| `sorting`, 4 digits | greedy | ")
    assert table[3].startswith("|  | self consistency | ")


def test_it_asks_for_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        real_models.main([])
    assert "say which model with --model" in capsys.readouterr().err


def test_the_page_shows_the_recorded_rows() -> None:
    assert real_models.recorded_table() in PAGE
