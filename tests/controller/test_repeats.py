"""A run says when its results repeat."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from treereason.cli.main import main

RUN = ["task.length=4", "task.limit=1", "baseline=none"]
ANY = "on this machine, whatever engine.max_branches is"
SAME = "on this machine with the same engine options (bfloat16); with any under engine.deterministic=true"
DIGITS = (
    "on this machine with the same engine options, to the last digit of scores; with any under "
    "engine.deterministic=true"
)
BFLOAT16 = ["model=transformers", "model.name=embedded", "model.style=embedded", "model.dtype=bfloat16"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], ANY),
        (BFLOAT16, SAME),
        ([*BFLOAT16, "engine.deterministic=true", "engine.max_branches=8", "engine.prefill_tokens=16"], ANY),
        (["scorer=likelihood"], DIGITS),
        (["scorer=likelihood", "engine.deterministic=true", "engine.max_branches=8", "engine.prefill_tokens=16"], ANY),
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
