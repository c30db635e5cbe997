"""Ctrl-C: in a run the first one ends it between two steps and the second at once; elsewhere the first ends all.

Only the command line installs signal handlers: a script or notebook that runs an experiment keeps its own. Standard
library only, because this is the first import of the program.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EXIT_CODE = 130
_NOTE = "treereason: interrupted\n"


def end_at_once() -> None:
    """From now on Ctrl-C ends the process with one line: outside of a run there is nothing to lose.

    A KeyboardInterrupt would get lost in an import, or become a traceback.
    """
    signal.signal(signal.SIGINT, _end)


def ignore() -> None:
    """Ctrl-C does nothing from now on: Python needs 200 ms to unload torch, and would die with another exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def report() -> int:
    """Say that a KeyboardInterrupt has ended a run; returns the exit code."""
    sys.stderr.write(f"\n{_NOTE}")
    return EXIT_CODE


@contextmanager
def first_ends_run(announce: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C has come, as a function; a second Ctrl-C inside the block raises KeyboardInterrupt.

    announce: tells the user that the first one has come. It is called in a signal handler.
    """
    received = False

    def on_interrupt(_number: int, _frame: object) -> None:
        nonlocal received
        if received:
            raise KeyboardInterrupt
        received = True
        announce()

    previous = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield lambda: received
    finally:
        signal.signal(signal.SIGINT, previous)


def _end(_number: int, _frame: object) -> None:
    terminal = os.isatty(2)  # ^C is in the line, and the note about loading has hidden the cursor
    os.write(2, b"\033[?25h\n" * terminal + _NOTE.encode())
    os._exit(EXIT_CODE)
