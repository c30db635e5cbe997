"""Runs on the shipped model that are cut off and go on: all that an uninterrupted run is compared by."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from treereason.cli.run import prepare
from treereason.controller.experiment import run_experiment
from treereason.controller.run_spec import RunSpec
from treereason.engine.model.language_model import LanguageModel
from treereason.record.begun_run import begun_run
from treereason.record.journal import NAME, read_rows

SORTING = {"name": "sorting", "length": 12, "limit": 3}
STEPS = {"name": "few_shot", "examples": 2, "stepwise": True, "limit": 2}


def spec_of(**values: Any) -> RunSpec:
    model = {"name": "embedded", "style": "embedded", "dtype": "float32"}
    return prepare({"model": model, "engine": {"threads": 1}, "display": "none", **values})


def told(folder: Path) -> Counter[tuple[str, str, str]]:
    """All that the journal tells of problems, however often the run went on: pass, kind and fields, but for seconds."""
    found: Counter[tuple[str, str, str]] = Counter()
    pass_name = ""
    for row in read_rows(folder / NAME):
        data = json.loads(row.data)
        pass_name = data.get("pass_name", pass_name)
        if row.problem and row.kind != "problem_leased":
            for fields in (data, data.get("decoded") or {}):
                fields.pop("seconds", None)
            found[pass_name, row.kind, json.dumps(data)] += 1
    return found


def results(folder: Path) -> bytes:
    return (folder / "results.jsonl").read_bytes()


def copied_until(row: int, whole: Path, folder: Path) -> Path:
    """The folder of the same run, killed behind this row of its journal."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(whole / NAME, folder / NAME)
    with closing(sqlite3.connect(folder / NAME)) as journal:
        journal.execute("DELETE FROM events WHERE id > ?", (row,))
        journal.commit()
    return folder


def go_on(spec: RunSpec, model: LanguageModel, folder: Path, **options: Any) -> dict[str, Any]:
    """Run on from what the folder's journal tells."""
    return run_experiment(spec, model, folder, before=begun_run(folder / NAME), **options)
