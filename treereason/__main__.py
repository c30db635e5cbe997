"""The program `treereason`, also as `python -m treereason`. Ctrl-C is taken care of before anything is imported."""

import os
import signal
import sys


def console() -> None:
    """The command line, and then the end of the process."""
    signal.signal(signal.SIGINT, _interrupted)
    # Half a second, in which a KeyboardInterrupt would get lost or become a traceback.
    from treereason.cli.main import main
    from treereason.cli.stdout import outlive_readers

    stdout = outlive_readers()
    code = main()
    # Python unloads torch for some 200 ms, and would by then die of a Ctrl-C with a status of its own.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if stdout is not None:
        sys.stdout.flush()
        if stdout.failure is not None:
            why = f"stdout cannot be written ({stdout.failure.strerror})"
            print(f"treereason: error: {why}: the output is cut short, a run's folder is not", file=sys.stderr)  # noqa: T201
            code = code or 2
    sys.exit(code)


def _interrupted(_number: int, _frame: object) -> None:
    """Ends the process at once: outside of a run, which has a handler of its own, it holds nothing."""
    terminal = os.isatty(2)  # where ^C stands in the line, and the note about loading has hidden the cursor
    os.write(2, b"\033[?25h\n" * terminal + b"treereason: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    console()
