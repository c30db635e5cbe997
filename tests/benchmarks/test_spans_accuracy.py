"""What docs/spans-accuracy.md and the card of the shipped model say is what is recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import spans_accuracy, spans_accuracy_page
from benchmarks.proportion import proportion
from treereason.engine.model.shipped import SHIPPED


def test_the_page_and_the_card_are_made_of_the_recorded_rows() -> None:
    words, mark, tables = spans_accuracy_page.PAGE.read_text(encoding="utf-8").partition(spans_accuracy_page.MARK)
    assert words.startswith("# What attention spans do to accuracy")
    assert mark
    assert tables.strip() == spans_accuracy_page.tables()
    card = (SHIPPED["embedded_spans"].folder / "README.md").read_text(encoding="utf-8")
    assert card == spans_accuracy_page.card()
    assert "| with spans |" in card
    assert "| blind |" in card


def test_the_newest_row_of_an_arm_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = {"mask": "full", "gaps": True, "tokens": 3_000_000, "seed": 1}
    rows = [
        {"training": training, "view": "everything", "operations": 4, **proportion(hits, 200)} for hits in (20, 150)
    ]
    (tmp_path / "spans_accuracy.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(spans_accuracy_page, "RESULTS", tmp_path)
    line = spans_accuracy_page.tables().split("\n")[2]
    assert line == "| full attention, position gaps, 3M tokens, seed 1 | reading everything | 0.750 (0.69 to 0.80) |"


def test_intervals_are_wilsons() -> None:
    assert proportion(0, 200) == {"problems": 200, "solved": 0.0, "interval": [0.0, 0.0188]}
    assert proportion(5, 10)["interval"] == [0.2366, 0.7634]
    with pytest.raises(ValueError, match="at least one trial"):
        proportion(0, 0)


@pytest.mark.parametrize(("view", "low", "high"), [("spans", 0.8, 1.0), ("everything", 0.0, 0.2), ("blind", 0.0, 0.0)])
def test_the_shipped_model_solves_with_spans_and_not_without(
    monkeypatch: pytest.MonkeyPatch, view: str, low: float, high: float
) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(spans_accuracy, "finish", lambda _, row, **__: told.append(row))
    spans_accuracy.main(["--model", "embedded_spans", "--view", view, "--operations", "6", "--problems", "5"])
    [row] = told
    assert (row["view"], row["operations"], row["problems"]) == (view, 6, 5)
    assert row["training"]["mask"] == "spans"
    assert low <= row["solved"] <= high
    assert (row["kv_share"] == 1) == (view == "everything")
