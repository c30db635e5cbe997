"""Lists of whole numbers, as models write them and as a file's cells hold them."""

import json
import re
from typing import Any

_BRACKETS = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]")
_INTEGERS = re.compile(r"\s*-?[0-9]{1,9}(?:[\s,]+-?[0-9]{1,9})*[\s,]*")


def read_list(text: str, *, cut: bool = False) -> list[int] | None:
    """The last list in square brackets, else a last line of numbers with commas.

    Brackets without digits are no list unless they are empty, but what has digits is read whole or not at all.
    cut: a limit ended the text, so only a list in closed brackets is whole.
    """
    text = text.strip()
    if text.rfind("[") > text.rfind("]"):
        return None
    for inside in reversed(_BRACKETS.findall(text)):
        if not inside.strip():
            return []
        if re.search("[0-9]", inside):
            return _integers(inside)
    above, _, last = text.rpartition("\n")
    return _integers(last) if not cut and "," in last and not above.rstrip().endswith(",") else None


def json_list(cell: str) -> list[Any] | None:
    """The list that a cell holds as JSON; None where it holds no list."""
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def _integers(text: str) -> list[int] | None:
    """The integers of a whole list, which may have brackets of its own around it."""
    if not _INTEGERS.fullmatch(text.strip().removeprefix("[").removesuffix("]")):
        return None
    return [int(number) for number in re.findall(r"-?[0-9]+", text)]
