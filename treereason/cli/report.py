"""`treereason report`: one HTML page of one run or several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from treereason.analysis.comparison import compare
from treereason.analysis.curve import curve
from treereason.analysis.page import page
from treereason.cli.arguments import Arguments
from treereason.cli.run_folders import names_of, read_runs
from treereason.cli.task_of_run import with_task
from treereason.core import UserError
from treereason.record.folder import unwritable
from treereason.text import from_home

NAME = "report.html"
USAGE = """\
Usage: treereason report RUN... [--output FILE]

One HTML page that needs no network and no other file: figures with intervals, accuracy against tokens, the
tree of every problem with its texts, KV over time, costs, commands and versions. RUN is a run's folder or
that of a sweep. --output: report.html in the first run's folder by default.
"""


def main(arguments: Sequence[str]) -> int:
    """Write the page and print its path; returns the exit code. Raises UserError."""
    parser = Arguments("report")
    parser.add_argument("runs", nargs="*")
    parser.add_argument("-o", "--output")
    flags = parser.parse_intermixed_args(arguments)
    if flags.help:
        print(USAGE, end="")  # noqa: T201
        return 0
    if not flags.runs:
        raise UserError("report: give the folders of runs, as `treereason report runs/a runs/b`")
    runs = read_runs(flags.runs)
    found = compare(runs, [with_task(run) for run in runs], names_of(runs))
    text = page(found, [curve(row.outcomes) for row in found.rows])
    path = Path(from_home(flags.output)) if flags.output is not None else runs[0].folder / NAME
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise unwritable(path, error.strerror or error, "give another place") from error
    except ValueError as error:  # a name that holds a NUL
        raise UserError(f"--output {path}: {error}") from None
    print(path)  # noqa: T201
    return 0
