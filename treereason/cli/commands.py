"""The subcommands: `treereason list` is treereason/cli/list.py, whose `main` gets the words behind it.

A new one is a file of its name and a line here. Everything that is no subcommand is a run.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import cast

from treereason.core import UserError
from treereason.text import nearest

COMMANDS = {
    "list": "what can be chosen, with all options",
    "compare": "runs side by side, paired by problem and at equal tokens",
    "show": "the thoughts of a run in the terminal",
    "report": "one HTML page of one run or several",
    "rescore": "a run by another scorer, without a model",
    "export": "a run for TensorBoard or inspect_ai",
    "reselect": "a run with another vote or fewer samples, without a model",
    "resume": "go on with a run that was cut off",
}
"""Name -> what it does, for `--help`."""


def command(arguments: Sequence[str]) -> Callable[[Sequence[str]], int] | None:
    """What the first argument names, None for a run. Raises UserError for a name that is mistyped or comes too late."""
    for word in arguments[1:]:
        if word in COMMANDS and arguments[0] not in COMMANDS:
            raise UserError(f"{word}: a command comes first: `treereason {word}`")
    first = arguments[0] if arguments else ""
    if first in COMMANDS:
        return cast(Callable[[Sequence[str]], int], importlib.import_module(f"treereason.cli.{first}").main)
    near = nearest(first, COMMANDS)
    if first.isalpha() and near.startswith("did"):
        raise UserError(f"{first}: no such command; {near}")
    return None
