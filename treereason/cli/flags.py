"""The flags of `treereason`; everything else on the command line is an option in hydra's form."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from treereason.core import UserError
from treereason.text import nearest


def parse_flags(arguments: Sequence[str]) -> argparse.Namespace:
    """The flags, and as `overrides` all other arguments. Raises UserError."""
    parser = _Parser(prog="treereason", add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("-m", "--multirun", action="store_true")
    parser.add_argument("-c", "--cfg", choices=["job", "hydra", "all"])
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("--config-dir")
    parser.add_argument("--hydra-help", action="store_true")
    parser.add_argument(
        "--info", nargs="?", const="all", choices=["all", "config", "defaults", "plugins", "searchpath"]
    )
    parser.add_argument("-sc", "--shell-completion", action="store_true")  # hydra's shell functions call it -sc
    parser.add_argument("overrides", nargs="*")
    flags = parser.parse_intermixed_args(arguments)
    if flags.multirun and only_shows(flags):
        raise UserError("-m starts runs: leave it out, or the flag that only shows something")
    return flags


def only_shows(flags: argparse.Namespace) -> bool:
    """Whether hydra only shows something, and nothing will run."""
    return bool(flags.cfg or flags.info or flags.hydra_help or flags.shell_completion)


def hydra_flags(flags: argparse.Namespace) -> list[str]:
    """Those flags that hydra itself reads, as it reads them."""
    names = [name for name in ("multirun", "resolve", "hydra_help", "shell_completion") if getattr(flags, name)]
    values = [f"--{name}={value}" for name in ("cfg", "info") if (value := getattr(flags, name)) is not None]
    return [f"--{name.replace('_', '-')}" for name in names] + values


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        word = message.partition("unrecognized arguments: ")[2].split(" ")[0]
        flags = [flag for flag in self._option_string_actions if flag.startswith("--")]
        raise UserError(f"{word}: no such flag; {nearest(word, flags)}" if word else message)
