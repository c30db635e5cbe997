"""Lists: of whole numbers as models write them, in a file's cells, and cut into runs."""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

from treereason.tasks.answers import last_box, unfenced
from treereason.tasks.files import bad_line
from treereason.text import shown

_BRACKETS = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]")
_INTEGERS = re.compile(r"\s*-?[0-9]{1,9}(?:[\s,]+-?[0-9]{1,9})*[\s,]*")

_LEAD = re.compile(r"\A(?!.*\bnot\b)[^\[\]{}0-9\n]*?(?::|\bis|\bare)\s+(?=[-0-9])")
_LATEX = re.compile(r"\\(?:left|right)?(?=[\[\]])")
_AND = re.compile(r",?(?<!\s)\s+and\s+(?=[0-9])")
_LINE = re.compile(r"[ \t]*(?:([-*•])[ \t]+)?([0-9]{1,9})[,.]?[ \t]*")

_T = TypeVar("_T")


def read_list(text: str, *, cut: bool = False) -> list[int] | None:
    """The last list in square brackets, else what the last line lists with commas, else numbers on lines of their own.

    Brackets without digits are no list unless they are empty, but what has digits is read whole or not at all. A line
    may say what it lists, as in "The sorted list is 1, 2, and 3.", in words without digits.
    cut: a limit ended the text, so only a list in closed brackets is whole.
    """
    text = _LATEX.sub("", text.strip())
    if text.rfind("[") > text.rfind("]"):
        return None
    for inside in reversed(_BRACKETS.findall(text)):
        if not inside.strip():
            return []
        if re.search("[0-9]", inside):
            return _integers(inside)
    if cut:
        return None
    text = unfenced(text).strip()
    if (numbers := _lines_of_numbers(text)) is not None:
        return numbers
    above, _, last = text.rpartition("\n")
    listed = _AND.sub(", ", _LEAD.sub("", last_box(last) or last, count=1).strip("*`$. "))
    return _integers(listed) if "," in listed and not above.rstrip().endswith(",") else None


def _lines_of_numbers(text: str) -> list[int] | None:
    """The numbers on the last lines of a text that hold one each, all behind the same sign; None for fewer than two."""
    lines = list(takewhile(bool, map(_LINE.fullmatch, reversed(text.split("\n")))))
    if len(lines) < 2 or len({line[1] for line in lines if line}) > 1:
        return None
    return [int(line[2]) for line in reversed(lines) if line]


def json_list(cell: str) -> list[Any] | None:
    """The list that a cell holds as JSON; None where it holds no list."""
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def number_set(path: Path, line: int, row: Mapping[str, str], column: str) -> list[int]:
    """The numbers of a set that a file has in `column` as a JSON list. Raises UserError."""
    numbers = json_list(row[column])
    if numbers is None:
        raise bad_line(path, line, f"{column} is not a list of numbers such as [3, 1, 4]: {shown(row[column])}")
    for number in numbers:
        if type(number) is not int or not 0 <= number < 10**9:
            raise bad_line(path, line, f"{column}: {shown(number)} is not a whole number from 0, of at most 9 digits")
    if len(set(numbers)) < len(numbers):
        raise bad_line(path, line, f"{column} holds a number twice: {shown(row[column])}")
    return numbers


def digit_list(path: Path, line: int, cell: str) -> list[int]:
    """The digits that a cell holds as a JSON list. Raises UserError, also for an empty one."""
    value = json_list(cell)
    if not value:
        raise bad_line(path, line, f"not a list of digits such as [3, 1, 4]: {shown(cell)}")
    for element in value:
        if type(element) is not int or not 0 <= element <= 9:
            raise bad_line(path, line, f"the element {shown(element)} is not a digit 0 to 9")
    return value


def runs(items: Sequence[_T], num: int) -> list[Sequence[_T]]:
    """At most `num` runs that make up all items in order, as equal in length as can be; one where there are none."""
    num = max(1, min(num, len(items)))
    return [items[len(items) * i // num : len(items) * (i + 1) // num] for i in range(num)]


def _integers(text: str) -> list[int] | None:
    """The integers of a whole list, which may have brackets of its own around it."""
    if not _INTEGERS.fullmatch(text.strip().removeprefix("[").removesuffix("]")):
        return None
    return [int(number) for number in re.findall(r"-?[0-9]+", text)]
