"""What every display is, and where log lines go while one is open."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

from rich.file_proxy import FileProxy
from rich.logging import RichHandler

from treereason.events import Event
from treereason.text import printable_lines

STOPPING = "stopping after this step; Ctrl-C again stops at once"


class Display:
    """A sink of events that shows a run; this one shows nothing.

    Use it as a context manager, in one thread: leaving it gives back the terminal, stdout, stderr and all loggers.
    """

    def __call__(self, event: Event) -> None:
        """Show what the event changes."""

    def stopping(self) -> None:
        """Say that the run stops after this step. For a signal handler: takes no lock, writes into no buffer."""
        terminal = os.isatty(2)  # which has just echoed ^C
        with suppress(OSError):
            os.write(2, b"\n" * terminal + f"treereason: {STOPPING}\n".encode())

    def close(self) -> None:
        """Give back all that `__enter__` took; may be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class PrintableFormatter(logging.Formatter):
    """Formats log lines, and the tracebacks behind them, made safe for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


@contextmanager
def logs_to(handler: logging.Handler) -> Iterator[None]:
    """Send to `handler` what all loggers wrote to stdout or stderr; their files go on as before.

    Libraries that keep a handler of their own are included: a line written past a live view would tear it.
    """
    root = logging.getLogger()
    screens = [(logger, screen) for logger in _loggers() for screen in logger.handlers if _writes_to_screen(screen)]
    replaced = {root, *(logger for logger, _ in screens if not logger.propagate)}
    for logger, screen in screens:
        logger.removeHandler(screen)
    for logger in replaced:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in replaced:
            logger.removeHandler(handler)
        for logger, screen in screens:
            logger.addHandler(screen)
        for logger in _loggers():
            for late in logger.handlers:  # made while a live view stood in for stdout and stderr
                if isinstance(late, logging.StreamHandler) and isinstance(late.stream, FileProxy):
                    late.setStream(late.stream.rich_proxied_file)


def _loggers() -> list[logging.Logger]:
    root = logging.getLogger()
    return [root, *(entry for entry in root.manager.loggerDict.values() if isinstance(entry, logging.Logger))]


def _writes_to_screen(handler: logging.Handler) -> bool:
    screens = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    stream = getattr(handler, "stream", None)
    return isinstance(handler, RichHandler) or (stream is not None and stream in screens)
