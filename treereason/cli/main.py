"""The command line from its arguments to its exit code.

0 done, 1 a bug, 2 a mistake of the user, 3 every problem failed, 128 + n a signal n ended it (130 is Ctrl-C).
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Sequence

from treereason.cli import interrupt
from treereason.cli.commands import command
from treereason.cli.flags import parse_flags
from treereason.cli.notes import complain
from treereason.config.user_files import telling
from treereason.core import UserError
from treereason.display.base import PrintableFormatter
from treereason.text import printable_lines
from treereason.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    # OpenMP reads it when torch loads it: waiting threads spin for some microseconds, then sleep. Endless spinning made
    # runs 500 times slower on a busy machine, sleeping at once made steps a fifth slower on an idle one (docs/log.md).
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # hydra raises what it would print, and `run` makes a line of it
    # Hydra 1.4 announces that these names will go in 1.5, which pyproject.toml leaves out; 1.3 has no others.
    warnings.filterwarnings("ignore", message=r"(register_new_resolver|The version_base)")
    warnings.filterwarnings("ignore", message=r"\s*Running Hydra app with --multirun")
    warnings.filterwarnings("error", message=r"provider=.* is not available")  # a folder of hydra.searchpath
    if logging.lastResort is not None:  # what prints warnings where no display takes them
        logging.lastResort.setFormatter(PrintableFormatter())
    try:
        with telling(SystemExit):
            return _main(list(sys.argv[1:] if arguments is None else arguments))
    except UserError as error:
        return complain(error)
    except SystemExit as stop:  # how a run ends early from inside hydra
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt as stop:
        return interrupt.report(stop)


def _main(arguments: list[str]) -> int:
    if (chosen := command(arguments)) is not None:
        return chosen(arguments[1:])
    flags = parse_flags(arguments)
    # Hydra, which a third of a second of imports brings, is for runs alone.
    from treereason.cli.completion import complete
    from treereason.cli.help import help_text
    from treereason.cli.run import run

    if flags.help:
        print(printable_lines(help_text(flags.overrides)))  # noqa: T201
    elif flags.version:
        print(f"treereason {__version__}")  # noqa: T201
    elif flags.shell_completion:
        complete(flags)
    else:
        return run(flags)
    return 0
