"""Where log lines go while a display owns the terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.highlighter import NullHighlighter
from rich.logging import RichHandler
from rich.text import Text

from treereason.display.clean import one_line


class LiveHandler(RichHandler):
    """Prints log lines above the live region, their text made safe: it may quote a model."""

    def __init__(self, console: Console) -> None:
        super().__init__(console=console, show_path=False, markup=False, highlighter=NullHighlighter())

    def render_message(self, record: logging.LogRecord, message: str) -> Text:  # noqa: ARG002
        return Text("\n").join(Text(one_line(line, 1000)) for line in message.splitlines())


@contextmanager
def logs_to(handler: logging.Handler) -> Iterator[None]:
    """Send to `handler` what loggers wrote to stdout or stderr; log files go on as before.

    Libraries that keep a handler of their own are included: a line written past the live region would tear it.
    """
    root = logging.getLogger()
    loggers = [root, *(entry for entry in root.manager.loggerDict.values() if isinstance(entry, logging.Logger))]
    screens = [(logger, screen) for logger in loggers for screen in logger.handlers if _writes_to_screen(screen)]
    replaced = {logger for logger, _ in screens if not logger.propagate}
    for logger, screen in screens:
        logger.removeHandler(screen)
    for logger in {root, *replaced}:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in {root, *replaced}:
            logger.removeHandler(handler)
        for logger, screen in screens:
            logger.addHandler(screen)


def _writes_to_screen(handler: logging.Handler) -> bool:
    return type(handler) is logging.StreamHandler or isinstance(handler, RichHandler)


def stderr_handler() -> logging.Handler:
    """Plain log lines on stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    return handler
