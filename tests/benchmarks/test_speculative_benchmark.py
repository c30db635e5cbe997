"""The benchmark of speculative decoding gives the same results on all sides, and its page shows what was recorded."""

from __future__ import annotations

from functools import partial

import treereason as tr
from benchmarks.record import ROOT
from benchmarks.speculative import Setting, compare, drafting, recorded_table
from treereason.engine.model.language_model import LanguageModel


def test_sides_have_the_same_results_and_drafts_fewer_steps() -> None:
    model = tr.load("embedded")
    assert isinstance(model, LanguageModel)
    setting = Setting("arithmetic", branches=2, temperature=0.7, problems=2, tokens=60)
    rows = compare(model, setting, {mode: partial(drafting, mode, 4, None) for mode in ("none", "siblings")}, repeats=2)
    assert rows["siblings"]["same_results"]
    assert rows["siblings"]["steps"] < rows["none"]["steps"]
    assert rows["siblings"]["tokens_per_branch_and_step"] > rows["none"]["tokens_per_branch_and_step"]
    low, high = rows["siblings"]["off_over_on_interval"]
    assert low <= rows["siblings"]["off_over_on"]["median"] <= high


def test_the_page_shows_the_recorded_rows() -> None:
    assert recorded_table() in (ROOT / "docs" / "speculative.md").read_text()
