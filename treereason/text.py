"""Text as it is shown to a person: on one line, cut, and made safe for a terminal. Standard library only."""

from __future__ import annotations

import difflib
import os
import sys
import traceback
import unicodedata
from collections.abc import Collection
from pathlib import Path

LONGEST_LINE = 300
LONGEST_VALUE = 60
MAX_MARKS = 2
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_DROPPED = frozenset("\u200b\u200c\u200d\u2060\ufeff")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


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


def raised_in(error: BaseException, *objects: object) -> str:
    """` (mine.py, line 7)`: where an exception came up in the files of these objects' code; "" if in none of them."""
    files = {getattr(sys.modules.get(getattr(each, "__module__", "")), "__file__", None) for each in objects}
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if (file := frame.f_code.co_filename) in files:
            found = f" ({Path(file).name}, line {line})"
    return found


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
    """The hint in an error about an unknown name: the closest valid one, or all of them."""
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]}?"
    return f"it may be {', '.join(valid)}" if valid else "there is none"


def printable(text: str, limit: int = LONGEST_LINE) -> str:
    """`text`, from a model, a server or a file, on one line of at most `limit` characters that cannot steer a terminal.

    Runs of white space become one space; control characters (an escape among them) become their pictures, as
    in "␛[31m"; direction overrides, surrogates and unassigned characters become "�"; joiners and variation
    selectors, of which terminals disagree on the width, are dropped, as are marks stacked higher than two.
    """
    cut = text[: 4 * limit]
    line = "".join(_visible(" ".join(cut.split())))
    return line if len(line) <= limit and len(cut) == len(text) else line[: limit - 1].rstrip() + "…"


def printable_lines(text: str) -> str:
    """`text` with its lines and their indentation, each cleaned as `printable` cleans one; none is cut."""
    lines = text.replace("\r\n", "\n").expandtabs(4).split("\n")
    return "\n".join("".join(_visible(line)) for line in lines)


def _visible(text: str) -> list[str]:
    if text.isascii() and text.isprintable():
        return [text]  # most of what is shown, in a fraction of the time
    visible: list[str] = []
    marks = 0
    for character in unicodedata.normalize("NFC", text):
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if character in _DROPPED or marks > MAX_MARKS or "\ufe00" <= character <= "\ufe0f":
            continue
        if character < " ":
            visible.append(chr(0x2400 + ord(character)))
        elif character == "\x7f":
            visible.append("␡")
        else:
            visible.append(_REPLACEMENT if category in _HIDDEN else character)
    return visible
