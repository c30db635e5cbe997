"""The search benchmark on short lists: its sides find the same when greedy, and its last line is JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import record, search
from treereason.config.scorers import scorer_reference
from treereason.config.user_files import load
from treereason.scoring.process import Scoring
from treereason.tasks.sorting import Sorting


def test_the_last_line_is_json_with_both_ratios(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    search.main(["--length", "6", "--problems", "3", "--threads", "1", "--repeats", "2", "--record"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["tree_over_generate_per_call"] > 0
    assert result["tree_over_generate_batched"] > 0
    assert result["rows"]["tree"]["solved"] == result["rows"]["generate_batched"]["solved"] == [3, 3]
    assert json.loads((tmp_path / "search.jsonl").read_text()) == result


def test_all_sides_give_the_same_answers_when_greedy() -> None:
    case = search.Case(length=20, problems=3, parallel_problems=3, temperature=0.0)
    with Scoring(scorer_reference(None, Sorting()), 10.0, load) as scoring:
        runs = {name: search.search_once(make(), scoring, case) for name, make in search.sides().items()}
    for name, run in runs.items():
        assert run.answers == runs["tree"].answers, name
        assert run.tokens_decoded == runs["tree"].tokens_decoded, name
    # A call an expansion, against one call for all that wait.
    assert runs["generate_per_call"].calls >= 3
    assert runs["generate_batched"].calls < runs["generate_per_call"].calls
