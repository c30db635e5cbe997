"""A run says when its results repeat."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import compiles
from treereason.cli.main import main

RUN = ["task.length=4", "task.limit=1", "baseline=none"]
ANY = "on this machine, whatever engine.max_branches is"
SAME = "on this machine with the same engine options (bfloat16); with any under engine.deterministic=true"
DIGITS = (
    "on this machine with the same engine options, to the last digit of scores; with any under "
    "engine.deterministic=true"
)
BFLOAT16 = ["model=transformers", "model.name=embedded", "model.style=embedded", "model.dtype=bfloat16"]

TORCH = "engine.cpu=torch"
DETERMINISTIC = ["engine.deterministic=true", "engine.max_branches=8", "engine.prefill_tokens=16"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], ANY),
        ([*BFLOAT16, TORCH], SAME),
        ([*BFLOAT16, TORCH, *DETERMINISTIC], ANY),
        (["scorer=likelihood", TORCH], DIGITS),
        (
            [
                "scorer=likelihood",
                TORCH,
                "engine.deterministic=true",
                "engine.max_branches=8",
                "engine.prefill_tokens=16",
            ],
            ANY,
        ),
        (["budget.seconds=60"], "not for certain: what budget.seconds cuts off depends on the machine's pace"),
    ],
)
def test_report_and_summary_say_when_the_results_repeat(
    options: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*RUN, *options, "display=plain", f"hydra.run.dir={tmp_path}"]) == 0
    summary: dict[str, Any] = json.loads((tmp_path / "summary.json").read_text())
    assert summary["repeats"] == said
    assert f"repeats   {said}\n" in capfd.readouterr().out


@pytest.mark.parametrize("options", [BFLOAT16, ["scorer=likelihood"]])
def test_compiled_kernels_repeat_with_any_number_of_branches(options: list[str], tmp_path: Path) -> None:
    if not compiles():
        pytest.skip("no compiler here")
    options = [*RUN, *options, "task.limit=4", "search=best_of_n", "display=none"]
    rows = []
    for branches in (1, 64):
        folder = tmp_path / str(branches)
        assert main([*options, f"engine.max_branches={branches}", f"hydra.run.dir={folder}"]) == 0
        assert json.loads((folder / "summary.json").read_text())["repeats"] == ANY
        found = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
        rows.append({row["id"]: (row["answer"], row["score"], row["best"]) for row in found})
    assert rows[0] == rows[1]
