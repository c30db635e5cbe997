"""The answer to the first Ctrl-C, which must not wait for the running step."""

from __future__ import annotations

import os
from contextlib import suppress

NOTE = "stopping after this step; Ctrl-C again stops at once"


def announce_stop() -> None:
    """One line on stderr, past its buffer: a signal handler calls this, maybe in the middle of another line."""
    terminal = os.isatty(2)  # where ^C stands in the line
    with suppress(OSError):
        os.write(2, b"\n" * terminal + f"treereason: {NOTE}\n".encode())
