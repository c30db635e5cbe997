"""How often names occur: in a text, in an object that a model wrote, in a file's cell."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from treereason.tasks.files import bad_line
from treereason.text import shown

NameCounts = Mapping[str, int]
_PYTHON = re.compile(r"([{,]\s*)'([^'\\\n]*)'\s*:")
_OBJECTS = re.compile(r"\{(?:[^{}]|\{[^{}]*\})*\}")


def count_names(text: str, names: Iterable[str]) -> dict[str, int]:
    """How often a text names each of `names` that it names: as whole words, and of names in one another the longest."""
    return dict(Counter(_pattern(frozenset(names)).findall(text)))


def read_counts(text: str) -> dict[str, int] | None:
    """The last JSON object in a text, whole or not at all: printable names, whole numbers of at most nine digits.

    Its names may stand between single quotes, as Python writes them.
    """
    found = _OBJECTS.findall(text) if text.rfind("{") <= text.rfind("}") else []
    last = found[-1] if found else ""
    try:
        counts = json.loads(_PYTHON.sub(r'\1"\2":', last) if '"' not in last else last) if last else None
    except (ValueError, RecursionError):
        return None
    readable = isinstance(counts, dict) and all(
        name.isprintable() and type(count) is int and abs(count) < 10**9 for name, count in counts.items()
    )
    return counts if readable else None


def num_errors(counts: NameCounts, answer: NameCounts) -> int:
    """How far off an answer's counts are, over the names of both; a name that is not there has count 0."""
    return sum(abs(counts.get(name, 0) - answer.get(name, 0)) for name in {**counts, **answer})


def counts_cell(path: Path, line: int, cell: str, text: str) -> dict[str, int]:
    """How often a cell such as `[Peru, Chile, Peru]` has each name. Raises UserError where the text disagrees."""
    if cell[:1] + cell[-1:] != "[]":
        raise bad_line(path, line, f"not a list of names such as [Peru, Chile, Peru]: {shown(cell)}")
    names = (part.strip(" \"'") for part in cell[1:-1].split(","))
    counts = dict(Counter(name for name in names if name))
    found = count_names(text, counts)
    for name, count in counts.items():
        if found.get(name, 0) != count:
            raise bad_line(path, line, f"{shown(name)} is listed {count} times, but named {found.get(name, 0)} times")
    return counts


@lru_cache(maxsize=256)
def _pattern(names: frozenset[str]) -> re.Pattern[str]:
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)" if names else r"(?!)")
