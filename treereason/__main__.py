"""The program `treereason`, also as `python -m treereason`."""

import os
import sys

from treereason.cli import interrupt


def console() -> None:
    """The command line, and then the end of the process."""
    interrupt.end_at_once()
    keep_standard_streams()
    # Half a second of imports, so after the line above.
    from treereason.cli.main import main
    from treereason.cli.stdout import outlive_readers

    stdout = outlive_readers()
    code = main()
    interrupt.ignore()
    if stdout is not None:
        sys.stdout.flush()
        if stdout.failure is not None:
            why = f"stdout cannot be written ({stdout.failure.strerror})"
            print(f"treereason: error: {why}: the output is cut short, a run's folder is not", file=sys.stderr)  # noqa: T201
            code = code or 2
    sys.exit(code)


def keep_standard_streams() -> None:
    """Give those that the shell has closed to nobody: the next file that is opened would get their output."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


if __name__ == "__main__":
    console()
