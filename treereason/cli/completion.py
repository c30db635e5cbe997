"""Tab completion: hydra's, which also learns users' classes, plug-ins on the line, and experiments in folders."""

from __future__ import annotations

import argparse
import os
from contextlib import suppress

from treereason.cli.choices import import_named, store_all, store_reference
from treereason.cli.help import files
from treereason.cli.run import hand_over
from treereason.config.registry import KINDS
from treereason.config.user_files import is_reference
from treereason.core import UserError
from treereason.text import one_line

LINE = "COMP_LINE"
EXPERIMENT = "+experiment="


def complete(flags: argparse.Namespace) -> None:
    """Do what a shell or user asks for: install=SHELL, uninstall=SHELL or query=SHELL.

    A query is about the line in the environment variable COMP_LINE.
    """
    if [word.partition("=")[0] for word in flags.overrides] not in (["install"], ["uninstall"], ["query"]):
        raise UserError("--shell-completion: say install=SHELL, uninstall=SHELL or query=SHELL, with bash, zsh or fish")
    line = os.environ.get(LINE, "")
    with suppress(UserError):  # a module that does not import completes nothing
        import_named(line.split(" ")[1:-1])
    store_all([])
    word = line.rpartition(" ")[2]
    if flags.overrides[0].startswith("query") and word.startswith(EXPERIMENT):
        names = (f"{EXPERIMENT}{name}" for name in files("experiment"))
        print("\n".join(name for name in names if name.startswith(word)))  # noqa: T201
        return
    if line:
        os.environ[LINE] = with_choices(line)
    try:
        hand_over(flags, flags.overrides)
    except (Exception, SystemExit) as error:  # of hydra, which reads a line that is not finished
        raise UserError(f"--shell-completion: {one_line(error)}") from error


def with_choices(line: str) -> str:
    """The line with every user's class but that of its last word, which is being typed, as a choice known to hydra."""
    *words, last = line.split(" ")
    return " ".join([*map(_with_choice, words), last])


def _with_choice(word: str) -> str:
    key, _, value = word.partition("=")
    for kind in KINDS:
        if key == kind and is_reference(value):
            with suppress(Exception):  # a file that does not import completes nothing
                return f"{kind}={store_reference(kind, value)}"
    return word
