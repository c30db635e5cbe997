"""Run folders that any end of a run may leave."""

from __future__ import annotations

import json
from pathlib import Path

from treereason.record import read


def check_readable(folder: Path) -> None:
    """What is there parses; a journal without tables is one that was killed at birth."""
    results, journal, summary = (folder / name for name in ("results.jsonl", "journal.sqlite", "summary.json"))
    if results.exists():
        assert all(json.loads(line)["status"] in ("done", "failed") for line in results.read_text().splitlines())
    if journal.exists():
        list(read(journal))
    if summary.exists():
        assert json.loads(summary.read_text())["status"] in ("done", "interrupted")
