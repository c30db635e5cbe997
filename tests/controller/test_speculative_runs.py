"""Runs with speculative decoding leave the results of runs without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import compiles
from tests.lanes import slow
from treereason.cli.main import main
from treereason.config.registry import builtin

TASKS = {
    "sorting": ["task.length=12"],
    "set_intersection": ["task.size=8"],
    "document_merging": ["task.documents=2"],
    "arithmetic": ["task.operations=3"],
    "few_shot": ["task.operations=2", "task.stepwise=true", "scorer=steps_hold"],
    "game_of_24": ["task.numbers=3"],
}
"""Those that the shipped model answers, with a small setting each."""
SEARCHES = [name for name in builtin("search") if name not in ("choose", "recorded")]
PAIRS = [("refine", "sorting")]
ALL = [(search, task) for search in SEARCHES for task in TASKS]


def results(folder: Path, *options: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The lines of results.jsonl, without what depends on which branch is ahead; and the summary.

    That is the most KV held at once, and which problem is the first to compute a prefix that all share.
    """
    plain = ["baseline=none", "display=none", "engine.threads=1", "task.limit=2", f"hydra.run.dir={folder}"]
    code = main([*plain, *options])
    assert code in (0, 3)
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    for line in lines:
        del line["kv_tokens_peak"]
        line["tokens_prefilled"] += line.pop("tokens_reused")
    return lines, summary


@pytest.mark.parametrize(("search", "task"), [*PAIRS, *slow(*(pair for pair in ALL if pair not in PAIRS))])
def test_results_are_the_same(search: str, task: str, tmp_path: Path) -> None:
    if not compiles():
        pytest.skip("no compiler here: other packings differ by rounding")
    chosen = [f"search={search}", f"task={task}", *TASKS[task]]
    engines = [["engine.kv_tokens=768"], ["engine.max_branches=2"], []]
    drafts = [
        ["speculative=siblings", "draft.width=2"],
        ["speculative=siblings"],
        ["speculative=auto", "draft.depth=3"],
    ]
    for temperature, engine, drafted in zip([0.0, 0.7, 1.0], engines, drafts, strict=True):
        given = [*chosen, *engine, f"temperature={temperature}"]
        want, _ = results(tmp_path / "plain", *given)
        found, _ = results(tmp_path / "drafted", *given, *drafted)
        assert found == want, (temperature, engine, drafted)


def test_the_report_tells_what_came_from_drafts(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    options = ["task=sorting", "task.length=12", "task.limit=3", "search=best_of_n", "baseline=none", "display=plain"]
    assert main([*options, "speculative=siblings", f"hydra.run.dir={folder}"]) == 0
    told = json.loads((folder / "summary.json").read_text())["speculative"]
    assert told["tokens_from_drafts"] == sum(told["right_by_depth"]) > 0
    assert told["rows"] == sum(told["proposed_by_depth"])
    assert f"drafts    {told['tokens_from_drafts']:,} tokens from {told['rows']:,} rows" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["speculative=model"], "speculative=model: give draft.model=FOLDER"),
        (["speculative=model", "draft.model=/nowhere"], "/nowhere"),
    ],
)
def test_what_cannot_be_drafted_is_refused_in_a_line(
    options: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*options, "display=none"]) == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_auto_proposes_nothing_where_other_packings_change_bits(tmp_path: Path) -> None:
    _, summary = results(tmp_path, "engine.cpu=torch", "task.length=4", "speculative=auto")
    assert summary["speculative"] == {"why": "none: here a token's last bits depend on what is computed beside it"}
