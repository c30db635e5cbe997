"""Numbers and answers as a person reads them."""

from __future__ import annotations

import math

from treereason.jsonable import jsonable
from treereason.text import LONGEST_LINE, printable


def answer(value: object, limit: int = LONGEST_LINE) -> str:
    """An answer of any type as `printable` shows text; where Python has no text for it, in the form of the journal."""
    try:
        text = str(value)
    except Exception:  # an integer of 5,000 digits has none, and an object of the user's may raise
        text = str(jsonable(value))
    return printable(text, limit)


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
