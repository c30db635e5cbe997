"""What `treereason rescore` and `treereason reselect` share: a recorded run, changed, beside what it was."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Collection, Sequence
from pathlib import Path

from rich.console import Console

from treereason.analysis.comparison import compare
from treereason.analysis.comparison_rows import as_json
from treereason.analysis.comparison_table import table
from treereason.analysis.derived_run import Change, derive, write
from treereason.analysis.recorded_run import read_run
from treereason.analysis.replay import Replay, replay
from treereason.analysis.rescore import rescore
from treereason.cli.arguments import Arguments
from treereason.cli.notes import note
from treereason.config.user_files import telling
from treereason.core import UserError
from treereason.jsonable import jsonable
from treereason.text import from_home, nearest


def parsed(command: str, arguments: Sequence[str], options: Collection[str]) -> tuple[Namespace, dict[str, str]]:
    """The flags, `run` among them, and the options of the form name=value. Raises UserError."""
    parser = Arguments(command)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--folder")
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_intermixed_args(arguments)
    given = {}
    folders = []
    for word in flags.words:
        name, equals, value = word.partition("=")
        if not equals or "/" in name:
            folders.append(word)
        elif name not in options:
            raise UserError(f"{word}: {command} has no such option; {nearest(name, options)}")
        else:
            given[name] = value
    if len(folders) != 1 and not flags.help:
        raise UserError(f"{command}: give the folder of one run, as `treereason {command} RUN {min(options)}=...`")
    flags.run = folders[0] if folders else ""
    return flags, given


def derived(command: str, flags: Namespace, scorer: str | None, change: Change) -> int:
    """Change the run, print it beside what it was, and record it where a folder is given. Returns the exit code."""
    run = read_run(Path(from_home(flags.run)))
    with telling():
        replayed = replay(run)
        found = Change(change.vote, change.n, rescore(replayed, scorer) if scorer is not None else None)
        made = derive(replayed, found)
        names = [run.name, f"{run.name}, {command.removesuffix('e')}ed"]
        again = Replay(made, replayed.config, replayed.task, replayed.problems)
        runs = compare([run, made], [replayed, again], names)
    if found.rescored is not None:
        errors = [each for one in found.rescored.verdicts.values() for each in one.values() if isinstance(each, str)]
        if errors:
            note(f"{len(errors):,} thoughts could not be scored; the first: {errors[0]}")
    if flags.folder is not None:
        write(made, Path(from_home(flags.folder)))
        note(f"recorded in {flags.folder}")
    if flags.json:
        print(json.dumps(jsonable(as_json(runs))))  # noqa: T201
    else:
        console = Console()
        console.width = console.width if console.is_terminal else 200
        console.print(table(runs))
    return 0
