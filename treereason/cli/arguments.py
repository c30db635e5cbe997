"""The command line of a subcommand."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import NoReturn

from treereason.core import UserError
from treereason.text import nearest


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
