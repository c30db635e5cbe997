"""The cost model's tables: measured rows beside predictions, published bars, shapes."""

from __future__ import annotations

import sys

import pytest

from benchmarks import cost_model, fasttree_trees


def test_bars_are_of_trees_that_are_modelled() -> None:
    assert cost_model.BARS.keys() <= {tree.name for tree in fasttree_trees.TREES}


def test_a_measured_row_stands_beside_predictions() -> None:
    row = {"case": "1 trees of 10 on 1.2k", "heads": [32, 8], "provider": "tree_decode", "p50": 25.8}
    rows = [row, {**row, "provider": "sdpa"}, {**row, "failed": "no"}, {**row, "case": "unknown"}]
    line = {"gpu": "NVIDIA H200", "date": "2027-01-01T00:00:00+00:00", "rows": rows}
    (found,) = cost_model.beside_rows(line, None)
    assert not found["fitted"]
    assert found["predicted"].keys() == cost_model.COSTS.keys()
    assert all(predicted > 5 for predicted in found["predicted"].values())


def test_shapes_are_predicted_beside_fasttree(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    how = ["shapes", "--only", "1,10 /", "--heads", "32/8", "--device", "H100"]
    monkeypatch.setattr(sys, "argv", ["cost_model", *how])
    cost_model.main()
    lines = capsys.readouterr().out.splitlines()
    (case,) = (line for line in lines if line.startswith("1,10 / 4000,400"))
    assert len(case.split()) == 3 + 1 + len(cost_model.SHAPES)
    assert sum("FastTree ahead on" in line for line in lines) == len(cost_model.COSTS)
