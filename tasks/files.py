"""Problem files: rows with their line numbers, and errors that name file and line."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal, DecimalException
from pathlib import Path
from typing import Any

from treereason.core import UserError
from treereason.core.given_file import MIB, file_name, parse_json, read_bytes
from treereason.tasks.numbers import MAX_DIGITS
from treereason.text import one_line, printable, shown

LARGEST_FILE_BYTES = 256 * MIB  # all problems of a file are in memory at once
MOST_ROWS = 500_000


def bad_line(path: Path, line: int, what: str) -> UserError:
    """The error for one line of a file, in one line itself: `lists.csv:7: ...`."""
    return UserError(f"{file_name(path)}:{line}: {printable(one_line(what))}")


def read_text(path: Path) -> str:
    """A text file of at most 256 MiB, UTF-8 with or without a byte order mark. Raises UserError."""
    content = read_bytes(path, LARGEST_FILE_BYTES)
    nul = content.find(b"\0")
    if nul >= 0:
        raise bad_line(path, content.count(b"\n", 0, nul) + 1, "not UTF-8 text: it holds a NUL byte")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise bad_line(path, line, "not UTF-8 text") from None


def csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """First line number and cells by column name of each row. Raises UserError when a column or a cell is missing."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""))
    header: list[str] | None = None
    start, number = 1, 0
    limit = csv.field_size_limit(LARGEST_FILE_BYTES)  # the module's own; by default 131,072 characters in a cell
    try:
        for cells in reader:
            line, start = start, reader.line_num + 1
            if not cells:
                continue
            if header is None:
                header = [name.strip() for name in cells]
                missing = [name for name in columns if name not in header]
                if missing:
                    raise bad_line(path, line, f"no column {missing[0]!r}; the columns are {', '.join(header)}")
                twice = [name for name in columns if header.count(name) > 1]
                if twice:
                    raise bad_line(path, line, f"the column {twice[0]!r} occurs twice")
                continue
            if len(cells) != len(header):
                raise bad_line(path, line, f"{len(cells)} cells in a table of {len(header)} columns")
            number = _counted(path, number)
            yield line, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise bad_line(path, reader.line_num, f"not CSV: {error}") from None
    finally:
        csv.field_size_limit(limit)
    if header is None:
        raise UserError(f"{file_name(path)} is empty: its first line must name the columns {', '.join(columns)}")


def named_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """As csv_rows; the first of `columns` names a row, and no other row has its name. Raises UserError."""
    names: set[str] = set()
    for line, row in csv_rows(path, columns):
        name = row[columns[0]]
        if name in names:
            raise bad_line(path, line, f"the {columns[0]} {shown(name)} occurs twice: give each row its own")
        names.add(name)
        yield line, row


def json_objects(path: Path, keys: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of each line that is not blank. Raises UserError for anything but objects with `keys`.

    Numbers are exact: int, or Decimal where they are written with a point or an exponent. NaN and the infinities are no
    JSON, and a number that no float can hold is refused as well.
    """
    number = 0
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            value = parse_json(text, finite=True, parse_float=_decimal, parse_int=_integer)
        except ValueError as error:
            raise bad_line(path, line, f"not JSON: {error}") from None
        if not isinstance(value, dict):
            raise bad_line(path, line, f"not a JSON object: {shown(value)}")
        missing = [key for key in keys if key not in value]
        if missing:
            raise bad_line(path, line, f"no key {missing[0]!r}; the keys are {', '.join(value) or 'none'}")
        number = _counted(path, number)
        yield line, value


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """A ValueError inside becomes the one line that the file is not `what`. Raises UserError."""
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{file_name(path)}: not {what}: {one_line(error)}") from None


def json_array(path: Path) -> list[Any]:
    """The list that a file holds as JSON. Raises ValueError for anything else, UserError for what cannot be read."""
    found = parse_json(read_text(path), finite=True)
    if not isinstance(found, list):
        raise ValueError(f"not a list but {shown(found)}")
    return found


def _counted(path: Path, before: int) -> int:
    """The number of a row. Raises UserError for more rows than are read."""
    if before == MOST_ROWS:
        raise UserError(f"{file_name(path)}: more than {MOST_ROWS:,} problems: give them in several files")
    return before + 1


def _decimal(number: str) -> Decimal:
    try:
        value = Decimal(number)
    except DecimalException:  # an exponent of 20 digits
        value = Decimal("nan")
    if not value.is_finite() or not math.isfinite(float(number)):
        raise ValueError(f"{shown(number)} is no number that can be computed with")
    return value or Decimal(0)  # 0e999 is 0


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits; at most {MAX_DIGITS:,} are read")
    return int(Decimal(digits))  # int(digits) stops at 4300
