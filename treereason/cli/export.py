"""`treereason export`: a recorded run for the viewers of others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from treereason.analysis.inspect_log import inspect_log
from treereason.analysis.recorded_run import RecordedRun, read_run
from treereason.analysis.tensorboard import TensorBoard
from treereason.cli.arguments import Arguments
from treereason.core import UserError
from treereason.jsonable import jsonable
from treereason.record.folder import unwritable
from treereason.text import from_home

USAGE = """\
Usage: treereason export RUN [--inspect FILE.json] [--tensorboard FOLDER]

--inspect: a log of inspect_ai, one sample per problem; `inspect view` opens it in its folder.
--tensorboard: scalars by engine step and by problem; needs pip install 'treereason[tensorboard]'.
"""


def main(arguments: Sequence[str]) -> int:
    """Write the files; returns the exit code. Raises UserError."""
    parser = Arguments("export")
    parser.add_argument("runs", nargs="*")
    parser.add_argument("--inspect")
    parser.add_argument("--tensorboard")
    flags = parser.parse_intermixed_args(arguments)
    if flags.help:
        print(USAGE, end="")  # noqa: T201
        return 0
    if len(flags.runs) != 1 or (flags.inspect is None and flags.tensorboard is None):
        raise UserError("export: give one run and a form, as `treereason export RUN --inspect FILE.json`")
    run = read_run(Path(from_home(flags.runs[0])))
    if flags.inspect is not None:
        _write(Path(from_home(flags.inspect)), json.dumps(jsonable(inspect_log(run))) + "\n")
    if flags.tensorboard is not None:
        _feed(run, Path(from_home(flags.tensorboard)))
    return 0


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise unwritable(path, error.strerror or error, "give another place") from error
    except ValueError as error:  # a name that holds a NUL
        raise UserError(f"{path}: {error}") from None
    print(path)  # noqa: T201


def _feed(run: RecordedRun, folder: Path) -> None:
    now = 0.0
    try:
        with TensorBoard(folder, clock=lambda: now) as board:
            for now, event in run.timed:  # noqa: B007 - the clock reads it
                board(event)
    except OSError as error:
        raise unwritable(folder, error.strerror or error, "give another place") from error
    print(folder)  # noqa: T201
