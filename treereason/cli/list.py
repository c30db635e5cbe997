"""`treereason list`: every task, search, scorer and model, with its options, plug-ins included."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator, Sequence
from typing import cast, get_args

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from treereason.cli.arguments import Arguments
from treereason.cli.choices import PLUGINS, import_named
from treereason.cli.entries import Entry, describe, entries
from treereason.cli.help import typed_option
from treereason.config.plugins import PluginKind
from treereason.config.user_files import is_reference
from treereason.core import UserError
from treereason.text import nearest, printable

TITLES = {"task": "tasks", "search": "searches", "scorer": "scorers", "model": "models"}
LONGEST = 2000
_MEANINGS_AT = 36

USAGE = """\
Usage: treereason list [WHAT] ... [--json] [plugins=MODULE]

What can be chosen, with its options, their defaults and meanings. WHAT is tasks, searches, scorers,
models, or a name: `treereason list searches`, `treereason list mcts`. --json prints one line of JSON.
A class of your own is search=./mine.py:MySearch; plugins=./mine.py adds what that file registers.
"""


def main(arguments: Sequence[str]) -> int:
    """Print the list; returns the exit code. Raises UserError."""
    parser = Arguments("list")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("words", nargs="*")
    flags = parser.parse_intermixed_args(arguments)
    if flags.help:
        print(USAGE, end="")  # noqa: T201
        return 0
    import_named(flags.words)
    words = [word for word in flags.words if word.partition("=")[0] != PLUGINS]
    references = [word for word in words if is_reference(word.partition("=")[2])]
    found = [_given(word, flags.json) for word in references]
    if not found or len(words) > len(references):
        found += _chosen(entries(), [word for word in words if word not in references])
    if flags.json:
        print(json.dumps([_plain(entry) for entry in found]))  # noqa: T201
    elif sys.stdout.isatty():
        _show(found)
    else:
        print("\n".join(_lines(found)))  # noqa: T201
    return 0


def _given(word: str, told: bool) -> Entry:
    """What `search=./mine.py:MySearch` describes. told: whether a mistake is part of the answer, or raised."""
    kind, _, reference = word.partition("=")
    if kind not in get_args(PluginKind):
        raise _no_kind(word, get_args(PluginKind))
    try:
        return describe(cast(PluginKind, kind), reference)
    except UserError as error:
        if not told:
            raise
        return Entry(kind, reference, problem=str(error))


def _chosen(found: Sequence[Entry], words: Sequence[str]) -> list[Entry]:
    """Those of the kinds, and of the names, that the words say; all where there are none.

    A name may stand behind its kind: `search=mcts`.
    """
    kinds = {word: kind for kind, title in TITLES.items() for word in (kind, title)}
    names = [entry.name for entry in found]
    whole = [f"{entry.kind}={entry.name}" for entry in found]
    for word in words:
        kind, behind, name = word.partition("=")
        if behind and kind not in TITLES:
            raise _no_kind(word, TITLES)
        if word not in kinds and word not in names and word not in whole:
            known = [entry.name for entry in found if entry.kind == kind] if behind else [*TITLES.values(), *names]
            raise UserError(f"list {word}: there is nothing of this name; {nearest(name or word, known)}")
    chosen = {kinds.get(word) for word in words}
    return [
        entry
        for entry, typed in zip(found, whole, strict=True)
        if not words or entry.kind in chosen or entry.name in words or typed in words
    ]


def _no_kind(word: str, kinds: Collection[str]) -> UserError:
    kind = word.partition("=")[0]
    return UserError(f"{word}: {kind} is no kind of thing to list; {nearest(kind, kinds)}")


def _plain(entry: Entry) -> dict[str, object]:
    return {**vars(entry), "options": [option._asdict() for option in entry.options]}


def _lines(found: Sequence[Entry]) -> Iterator[str]:
    """One line for everything, never wrapped, for a pipe."""
    for left, right in _rows(found):
        yield f"{left:{_MEANINGS_AT - 1}} {right}".rstrip()


def _rows(found: Sequence[Entry]) -> Iterator[tuple[str, str]]:
    for entry in found:
        about = entry.summary if entry.problem is None else f"cannot be chosen: {entry.problem}"
        yield printable(f"{entry.kind}={entry.name}"), printable(about, LONGEST)
        if entry.package is not None:
            yield "  from", printable(entry.package)
        if entry.tasks:
            yield "  of", ", ".join(f"task={task}" for task in entry.tasks)
        for option in entry.options:
            yield "  " + printable(typed_option(option)), printable(option.description, LONGEST)


def _show(found: Sequence[Entry]) -> None:
    """A table for each kind, for a terminal."""
    console = Console()
    for kind, title in TITLES.items():
        listed = [entry for entry in found if entry.kind == kind]
        if not listed:
            continue
        table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold", expand=True)
        table.add_column(title, ratio=1, max_width=_MEANINGS_AT)
        table.add_column(ratio=2)
        for entry in listed:
            name, *options = _rows([entry])
            if entry is not listed[0]:
                table.add_row()
            table.add_row(Text(name[0], style="bold cyan"), Text(name[1], style="red" if entry.problem else ""))
            for left, right in options:
                table.add_row(Text(left), Text(right, style="dim"))
        console.print(table)
