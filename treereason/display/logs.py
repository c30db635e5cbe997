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
    """Send what the root logger wrote to stdout or stderr to `handler` instead; files go on as before."""
    root = logging.getLogger()
    screen = [h for h in root.handlers if type(h) is logging.StreamHandler or isinstance(h, RichHandler)]
    if screen:
        handler.setLevel(min(h.level for h in screen))
    for old in screen:
        root.removeHandler(old)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        for old in screen:
            root.addHandler(old)


def stderr_handler() -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    return handler
