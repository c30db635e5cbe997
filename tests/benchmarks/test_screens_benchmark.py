"""The benchmark of screens tells all that docs/compare-and-report.md says of them."""

from __future__ import annotations

import json

import pytest

from benchmarks import screens
from benchmarks.record import RESULTS, ROOT


def test_all_figures_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    screens.main(["--rounds", "1", "--live-thoughts", "60", "--recorded-thoughts", "60"])
    told = json.loads(capsys.readouterr().out)
    assert set(told["frame_ms"]) == {"80x24", "120x40", "200x60"}
    assert told["show_cpu_s"]["median"] > 0
    assert 0 < told["report_mb"] < told["report_of_long_texts_mb"]


def test_the_page_tells_the_recorded_figures() -> None:
    row = json.loads((RESULTS / "screens.jsonl").read_text().splitlines()[-1])
    page = (ROOT / "docs" / "compare-and-report.md").read_text()
    figures = [f"{row['frame_ms'][size]['median']:.1f} ms" for size in row["frame_ms"]]
    figures += [f"{row['show_s']['median']:.2f} s"]
    figures += [f"{row[name]:.1f} MB" for name in ("report_mb", "report_of_long_texts_mb")]
    assert [figure for figure in figures if figure not in page] == []
