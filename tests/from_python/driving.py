"""Runs from Python that several files make, and what is read of them."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import treereason as tr

TASK = tr.tasks.Sorting(length=12, limit=3)
SEARCH = tr.search.TreeOfThoughts(k=3)


def run(model: Any, task: Any = TASK, search: Any = SEARCH, **options: Any) -> tr.Run:
    return tr.run(task, search, model, **{"baseline": "none", **options})


def answers(run: tr.Run) -> list[Any]:
    return [(problem.id, problem.answer, problem.score, problem.tokens_decoded) for problem in run.problems]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def children() -> set[str]:
    """Ids of the processes that this one has started and that still run, those of earlier tests included."""
    return set(Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split())
