"""Files that users give: regular, readable, of a bounded size; and JSON that is neither deep nor says a thing twice."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from treereason.core.errors import UserError

MIB = 1024**2
LONGEST_NAME = 300
DEEPEST_JSON = 100  # brackets around a value; configurations and problems have under ten
MOST_VALUES = 5_000_000  # of a JSON text, about 1 GB in memory; tokenizers' tables have under a million
MOST_DIGITS = 4300  # of a whole number: Python reads no more from text
_MARKS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[,\[{]')  # what is in a string parts no values


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """What the operating system says of a path inside becomes one line. Raises UserError."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"no such file: {file_name(path)}") from None
    except OSError as error:
        raise UserError(f"cannot read {file_name(path)}: {error.strerror or error}") from None
    except ValueError as error:  # a name that holds a NUL
        if isinstance(error, UserError):
            raise
        raise UserError(f"cannot read {file_name(path)}: {error}") from None


def check_regular(path: Path, limit_bytes: int | None = None) -> int:
    """Bytes of a regular file; a link counts as what it points to. Raises UserError for anything else, and too much."""
    with readable(path):
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise UserError(f"cannot read {file_name(path)}: it is a folder")
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"cannot read {file_name(path)}: it is not a regular file")
        with open_regular(path) as file:
            if file.read(1) is None:  # as of /proc/kmsg
                raise UserError(f"cannot read {file_name(path)}: a read would wait")
    if limit_bytes is not None and found.st_size > limit_bytes:
        raise UserError(
            f"cannot read {file_name(path)}: it has {found.st_size:,} bytes, and at most {limit_bytes:,} are read"
        )
    return found.st_size


def open_regular(path: Path) -> BinaryIO:
    """Open a file that is regular; never waits, whatever has taken its place since that was checked."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def read_bytes(path: Path, limit_bytes: int) -> bytes:
    """All of a regular file. Raises UserError, also for one that has or gets more than `limit_bytes`."""
    check_regular(path, limit_bytes)
    with readable(path), open_regular(path) as file:
        content = file.read(limit_bytes + 1) or b""
    if len(content) > limit_bytes:
        raise UserError(f"cannot read {file_name(path)}: more than {limit_bytes:,} bytes")
    return content


def parse_json(
    text: str | bytes,
    *,
    finite: bool = False,
    parse_float: Callable[[str], Any] | None = None,
    parse_int: Callable[[str], Any] | None = None,
) -> Any:
    """The value of a JSON text. finite: NaN and Infinity, which JSON does not know, are refused.

    parse_float, parse_int: make numbers of their digits, as in `json.loads`.

    Raises ValueError, one line, for what is not JSON, for values below more than 100 brackets, for an object that has a
    key twice, and for more values or digits than are read.
    """
    _check_number_of_values(text)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_no_constant if finite else None,
            parse_float=parse_float,
            parse_int=parse_int or _integer,
        )
    except RecursionError:
        raise ValueError(f"its brackets are nested more than {DEEPEST_JSON} deep") from None
    _check_depth(value)
    return value


def read_json_object(path: Path, limit_bytes: int) -> dict[str, Any]:
    """The JSON object that a file holds. Raises UserError."""
    try:
        value = parse_json(read_bytes(path, limit_bytes))
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{file_name(path)}: is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{file_name(path)}: is not a JSON object")
    return value


def file_name(path: Path) -> str:
    """A path as errors show it, on one line: its end, quoted where it holds what cannot be printed."""
    name = str(path)
    return (name if name.isprintable() else repr(name))[-LONGEST_NAME:]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:LONGEST_NAME]!r} occurs twice in one object")
    return found


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits; at most {MOST_DIGITS:,} are read")
    return int(digits)


def _check_number_of_values(text: str | bytes) -> None:
    """Each value but the first stands behind a comma or an opening bracket. Raises ValueError for too many."""
    given = text if isinstance(text, str) else text.decode("latin-1")
    if given.count(",") + given.count("[") + given.count("{") <= MOST_VALUES:
        return
    if next(islice(_MARKS.finditer(given), MOST_VALUES, None), None) is not None:
        raise ValueError(f"more than {MOST_VALUES:,} values")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a value of JSON")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST_JSON + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise ValueError(f"its brackets are nested more than {DEEPEST_JSON} deep")
