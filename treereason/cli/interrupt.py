"""Ctrl-C, SIGTERM and SIGHUP: in a run the first ends it between two steps, the second at once, and the third even code
that holds on to it; elsewhere the first ends all.

Only the command line installs signal handlers: a script or notebook that runs an experiment keeps its own. Standard
library only, because this is the first import of the program.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HARMLESS = (signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH)
STOPPING = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
FAULTS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSYS, signal.SIGTRAP, signal.SIGKILL)
"""No handler of Python's can answer these: the code at fault would be run again."""
FATAL = tuple(signal.valid_signals() - {*ENDING, *HARMLESS, *STOPPING, *FAULTS})
"""What ends the process by default: the terminal gets its cursor back first."""
EXIT_CODE = 130
_NOTE = "treereason: interrupted\n"


class Interrupted(KeyboardInterrupt):
    """A second signal has come in a run. number: the signal's, of which exit_code is made."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


def end_at_once() -> None:
    """From now on a signal ends the process with one line: outside of a run there is nothing to lose.

    A KeyboardInterrupt would get lost in an import, or become a traceback.
    """
    for number in _heeded():
        signal.signal(number, _end)
    for number in FATAL:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _restore_and_die)


def ignore() -> None:
    """Signals do nothing from now on: Python needs 200 ms to unload torch, and would die with another exit code."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def report(interrupt: KeyboardInterrupt) -> int:
    """Say that a KeyboardInterrupt has ended a run; returns the exit code."""
    sys.stderr.write(f"\n{_NOTE}")
    return interrupt.exit_code if isinstance(interrupt, Interrupted) else EXIT_CODE


@contextmanager
def first_ends_run(
    announce: Callable[[], None], leave: Callable[[], None] = lambda: None
) -> Iterator[Callable[[], int]]:
    """The exit code of the signal that has come, 0 as long as none has, as a function; a second one raises Interrupted.

    announce: tells the user that the first one has come. leave: leaves code that need not end by itself; it may raise.
    Both are called in a signal handler. The third signal ends the process: something has swallowed the second.
    """
    received: list[int] = []

    def on_signal(number: int, frame: object) -> None:
        received.append(number)
        if len(received) > 2:
            _end(number, frame)
        if len(received) > 1:
            raise Interrupted(number)
        announce()
        leave()

    previous = {number: signal.signal(number, on_signal) for number in _heeded()}
    try:
        yield lambda: 128 + received[0] if received else 0
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _heeded() -> list[signal.Signals]:
    """The ending signals, but for those that nohup and the like have set to do nothing."""
    return [number for number in ENDING if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN]


def _end(number: int, _frame: object) -> None:
    _give_terminal_back(_NOTE)
    os._exit(128 + number)


def _restore_and_die(number: int, _frame: object) -> None:
    _give_terminal_back("")
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _give_terminal_back(note: str) -> None:
    terminal = os.isatty(2)  # ^C is in the line, and a live view or the note about loading has hidden the cursor
    os.write(2, b"\033[?25h\n" * terminal + note.encode())
