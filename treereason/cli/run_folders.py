"""The run folders that a subcommand is given, and their names."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from treereason.analysis.recorded_run import RecordedRun, read_run
from treereason.core import UserError
from treereason.record.journal import NAME as JOURNAL
from treereason.text import from_home, nearest


class Arguments(ArgumentParser):
    """Arguments of a subcommand; a mistake in them is a UserError."""

    def __init__(self, command: str) -> None:
        super().__init__(prog=f"treereason {command}", add_help=False, allow_abbrev=False)
        self._command = command
        self.add_argument("-h", "--help", action="store_true")

    def error(self, message: str) -> NoReturn:
        word = message.partition("unrecognized arguments: ")[2].split(" ")[0]
        flags = [flag for flag in self._option_string_actions if flag.startswith("--")]
        raise UserError(
            f"{self._command} {word}: no such flag; {nearest(word, flags)}" if word else f"{self._command}: {message}"
        )


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
