"""Lines on stderr: what they quote (a server, a file, a path, an override) cannot steer the terminal."""

from __future__ import annotations

import sys

from treereason.text import printable

LONGEST_NOTE = 2100
"""Enough for the longest message of hydra that is shown, and the words in front of it."""


def note(text: str) -> None:
    """Print one line, behind the program's name."""
    print(f"treereason: {printable(text, LONGEST_NOTE)}", file=sys.stderr)  # noqa: T201
