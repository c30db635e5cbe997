"""The run folders that a subcommand is given, and their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from treereason.analysis.recorded_run import RecordedRun, read_run
from treereason.record.journal import NAME as JOURNAL
from treereason.text import from_home


def read_runs(given: Sequence[str]) -> list[RecordedRun]:
    """The runs of folders, and of all folders below one that is no run itself, as a sweep's. Raises UserError."""
    folders: list[Path] = []
    for name in given:
        folder = Path(from_home(name))
        inner = sorted(path.parent for path in _below(folder)) if not (folder / JOURNAL).exists() else []
        folders += inner or [folder]
    return [read_run(folder) for folder in dict.fromkeys(folders)]


def names_of(runs: Sequence[RecordedRun]) -> list[str]:
    """What tells the runs apart: their folders' names, or as much of their paths as it takes."""
    paths = [run.folder.absolute().parts for run in runs]
    for depth in range(1, max(map(len, paths)) + 1):
        names = ["/".join(parts[-depth:]) for parts in paths]
        if len(set(names)) == len(names):
            break
    return names


def _below(folder: Path) -> list[Path]:
    try:
        return list(folder.glob(f"*/{JOURNAL}")) + list(folder.glob(f"*/*/{JOURNAL}"))
    except (OSError, ValueError):
        return []  # told when it is read
