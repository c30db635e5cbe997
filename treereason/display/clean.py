"""Model text made safe to show: nothing that a model writes may steer the terminal."""

from __future__ import annotations

import unicodedata

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_DROPPED = frozenset("\u200b\u200c\u200d\u2060\ufeff")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
MAX_MARKS = 2


def one_line(text: str, limit: int = 300) -> str:
    """The first `limit` characters of `text` on one line, without a character that could steer a terminal.

    Runs of white space become one space; control characters (an escape among them) become their pictures, as
    in "␛[31m"; direction overrides, surrogates and unassigned characters become "�"; joiners and variation
    selectors, of which terminals disagree on the width, are dropped, as are marks stacked higher than two.
    """
    cut = text[: 4 * limit]
    line = "".join(_visible(" ".join(cut.split())))
    return line if len(line) <= limit and len(cut) == len(text) else line[: limit - 1].rstrip() + "…"


def _visible(text: str) -> list[str]:
    shown: list[str] = []
    marks = 0
    for character in unicodedata.normalize("NFC", text):
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if character in _DROPPED or marks > MAX_MARKS or "\ufe00" <= character <= "\ufe0f":
            continue
        if character < " ":
            shown.append(chr(0x2400 + ord(character)))
        elif character == "\x7f":
            shown.append("␡")
        else:
            shown.append(_REPLACEMENT if category in _HIDDEN else character)
    return shown
