"""Lines on stderr: what they quote (a server, a file, a path, an override) cannot steer the terminal."""

from __future__ import annotations

import sys

from treereason.core import UserError
from treereason.text import one_line, printable

LONGEST_MESSAGE = 2000
LONGEST_NOTE = LONGEST_MESSAGE + 100
"""Enough for the longest message that is shown, and the words in front of it."""


def note(text: str) -> None:
    """Print one line, behind the program's name."""
    print(f"treereason: {printable(text, LONGEST_NOTE)}", file=sys.stderr)  # noqa: T201


def complain(error: UserError) -> int:
    """Print the user's mistake as one line; returns the exit code."""
    note(f"error: {one_line(error, LONGEST_MESSAGE)}")
    return 2
