"""`treereason resume`: a run that was cut off goes on, inside the problems that it was at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from treereason.cli.arguments import Arguments
from treereason.cli.notes import note
from treereason.cli.run import ALL_FAILED, go, prepare, summary_of
from treereason.core import UserError
from treereason.record.begun_run import begun_run
from treereason.record.folder import folder_lock
from treereason.record.journal import NAME as JOURNAL
from treereason.text import from_home

USAGE = """\
Usage: treereason resume RUN [--force] [display=MODE]

Goes on with a run that was interrupted or killed. RUN is its folder. What is decoded and scored is not
done again. Refused, with what differs, when configuration, problems, weights, code or versions are not
those that the run began with; --force goes on all the same, and problems that no longer fit start over.
"""


def main(arguments: Sequence[str]) -> int:
    """Resume the run; returns the exit code. Raises UserError."""
    parser = Arguments("resume")
    parser.add_argument("--force", action="store_true")
    parser.add_argument("words", nargs="*")
    flags = parser.parse_intermixed_args(arguments)
    if flags.help:
        print(USAGE, end="")  # noqa: T201
        return 0
    folders = [word for word in flags.words if "=" not in word]
    if len(folders) != 1:
        raise UserError(f"resume: give one run folder, not {len(folders)}; treereason resume --help tells more")
    folder = Path(from_home(folders[0]))
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: give the folder of a run")
    overrides = dict(word.split("=", 1) for word in flags.words if "=" in word)
    with folder_lock(folder):
        summary = resume(folder, overrides, force=flags.force)
    return ALL_FAILED if 0 < summary["problems_done"] == summary["failed"] else 0


def resume(folder: Path, overrides: dict[str, str], *, force: bool = False) -> dict[str, Any]:
    """Go on with the run in a folder that is locked; returns its summary. Raises UserError."""
    before = begun_run(folder / JOURNAL)
    if before is None:
        raise UserError(f"{folder / JOURNAL} holds no run: start it again")
    if before.status == "done":
        note(f"{folder}: the run is done")
        return summary_of(before)
    values = dict(before.started.config)
    for name, text in overrides.items():
        _set(values, name, yaml.safe_load(text))
    spec = replace(prepare(values), program=before.started.program, overrides=before.started.overrides)
    return go(spec, folder, before=before, force=force)


def _set(values: dict[str, Any], name: str, value: Any) -> None:
    *groups, last = name.split(".")
    for group in groups:
        values[group] = dict(values.get(group) or {})
        values = values[group]
    values[last] = value
