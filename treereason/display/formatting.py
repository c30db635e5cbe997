"""Text made safe for a terminal, and numbers as a person reads them."""

from __future__ import annotations

import math
import unicodedata

from treereason.jsonable import jsonable
from treereason.text import LONGEST_LINE

MAX_MARKS = 2
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_DROPPED = frozenset("\u200b\u200c\u200d\u2060\ufeff")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def printable(text: str, limit: int = LONGEST_LINE) -> str:
    """`text`, which a model may have written, on one line of at most `limit` characters that cannot steer a terminal.

    Runs of white space become one space; control characters (an escape among them) become their pictures, as
    in "␛[31m"; direction overrides, surrogates and unassigned characters become "�"; joiners and variation
    selectors, of which terminals disagree on the width, are dropped, as are marks stacked higher than two.
    """
    cut = text[: 4 * limit]
    line = "".join(_visible(" ".join(cut.split())))
    return line if len(line) <= limit and len(cut) == len(text) else line[: limit - 1].rstrip() + "…"


def answer(value: object, limit: int = LONGEST_LINE) -> str:
    """An answer of any type as `printable` shows text; where Python has no text for it, in the form of the journal."""
    try:
        text = str(value)
    except Exception:  # an integer of 5,000 digits has none, and an object of the user's may raise
        text = str(jsonable(value))
    return printable(text, limit)


def _visible(text: str) -> list[str]:
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


def count(number: int, noun: str) -> str:
    """ "1 problem", "4,912 problems"."""
    return f"{number:,} {noun}" + "s" * (number != 1)


def score(value: float | None) -> str:
    """Two decimals, none from 100 on; a hyphen for no score."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}"


def duration(seconds: float) -> str:
    """ "0:42", "12:05", "3:04:05"; below ten seconds with a decimal: "4.2 s"."""
    return f"{seconds:.1f} s" if seconds < 10 else clock(seconds)


def clock(seconds: float) -> str:
    """ "0:42", "12:05", "3:04:05"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
