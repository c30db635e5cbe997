"""`treereason compare`: runs side by side, from their folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from treereason.analysis.comparison import compare
from treereason.analysis.comparison_rows import as_csv, as_json, write_parquet
from treereason.analysis.comparison_table import table
from treereason.cli.arguments import Arguments
from treereason.cli.run_folders import names_of, read_runs
from treereason.cli.task_of_run import with_task
from treereason.core import UserError
from treereason.jsonable import jsonable
from treereason.text import from_home

USAGE = """\
Usage: treereason compare RUN... [--tokens N] [--csv | --json | --parquet FILE]

A row per run, and the difference of each to the first run that was guided by the same: an oracle, a judge,
or neither. Paired by problem, with 95% bootstrap intervals, as the runs were and at equal tokens. RUN is a
run's folder or that of a sweep. --tokens N: at N decoded tokens a problem, on average; by default those of
the cheapest run. --csv and --json print one row per run; --parquet needs pip install 'treereason[parquet]'.
"""


def main(arguments: Sequence[str]) -> int:
    """Print the comparison; returns the exit code. Raises UserError."""
    parser = Arguments("compare")
    parser.add_argument("runs", nargs="*")
    parser.add_argument("--tokens", type=float)
    parser.add_argument("--csv", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--parquet")
    flags = parser.parse_intermixed_args(arguments)
    if flags.help:
        print(USAGE, end="")  # noqa: T201
        return 0
    if not flags.runs:
        raise UserError("compare: give the folders of runs, as `treereason compare runs/a runs/b`")
    if flags.tokens is not None and not 0 < flags.tokens < float("inf"):
        raise UserError(f"--tokens {flags.tokens}: give a number above 0")
    runs = read_runs(flags.runs)
    found = compare(runs, [with_task(run) for run in runs], names_of(runs), flags.tokens)
    if flags.parquet is not None:
        write_parquet(found, Path(from_home(flags.parquet)))
    if flags.json:
        print(json.dumps(jsonable(as_json(found))))  # noqa: T201
    elif flags.csv:
        print(as_csv(found), end="")  # noqa: T201
    elif flags.parquet is None:
        console = Console()
        if not console.is_terminal:
            console.width = 200
        console.print(table(found))
    return 0
