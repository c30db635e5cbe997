"""Text for one line: errors, values and paths as they are shown to a person. Standard library only."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection
from pathlib import Path

LONGEST_LINE = 300
LONGEST_VALUE = 60


def one_line(text: object, limit: int = LONGEST_LINE) -> str:
    """`text` on one line of at most `limit` characters and an ellipsis; an exception without text gives its type."""
    try:
        line = " ".join(str(text).split())
    except Exception:  # a user's exception may have no text to give
        line = ""
    return shorten(line or type(text).__name__, limit) if isinstance(text, BaseException) else shorten(line, limit)


def first_line(error: BaseException) -> str:
    """The first line of an exception's text, for libraries whose further lines only explain it."""
    try:
        text = str(error)
    except Exception:  # a user's exception may have no text to give
        text = ""
    return one_line(text.strip().split("\n")[0])


def describe(error: BaseException, limit: int = LONGEST_LINE) -> str:
    """`ValueError: message` on one line, whatever the exception's own text looks like."""
    name, message = type(error).__name__, one_line(error, limit)
    return name if message == name else shorten(f"{name}: {message}", limit)


def shown(value: object, limit: int = LONGEST_VALUE) -> str:
    """The repr of a value, cut to `limit` characters and an ellipsis; its type where it has no repr."""
    try:
        return shorten(repr(value), limit)
    except Exception:
        return type(value).__name__


def shorten(text: str, limit: int) -> str:
    """The first `limit` characters of `text`, with an ellipsis where something was cut off."""
    return text if len(text) <= limit else text[:limit] + "..."


def from_home(path: str) -> str:
    """The path with the home folder in place of ~ or ~USER; unchanged where there is none."""
    return os.path.expanduser(path)  # noqa: PTH111 - pathlib raises for a user without home


def as_typed(path: str) -> str:
    """A path as it is typed from the current folder."""
    short = path.removeprefix(f"{Path.cwd()}{os.sep}")
    return f".{os.sep}{short}" if short.startswith("~") and short != path else short  # else it would be a home folder


def nearest(name: str, valid: Collection[str]) -> str:
    """What to say behind an unknown name: the closest valid one, or all of them."""
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]}?"
    return f"it may be {', '.join(valid)}" if valid else "there is none"
