"""The journal: every event of a run, appended to one SQLite file that survives a kill at any moment."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from functools import cache
from pathlib import Path
from types import NoneType, TracebackType, UnionType
from typing import Any, NamedTuple, Self, Union, get_args, get_origin, get_type_hints

from treereason import events
from treereason.core import UserError
from treereason.events import Event
from treereason.record.folder import ELSEWHERE, unwritable
from treereason.record.row import decode, row_of
from treereason.text import one_line, shown

NAME = "journal.sqlite"
VERSION = 1
LOCKED_S = 60.0
"""How long to wait for another program that has locked the journal: a backup, a browser of databases."""
LATEST_S = 2.0**40
"""No clock of a run comes to this time."""
WAL_HEADER, WAL_FRAME = 32, 24
"""Bytes at the head of SQLite's write-ahead log, and of each of its frames (https://sqlite.org/fileformat2.html)."""
OF_A_STEP = (
    events.ProblemStarted,
    events.ThoughtCreated,
    events.ThoughtResumed,
    events.ThoughtDecoded,
    events.ThoughtScored,
    events.ThoughtEvaluated,
    events.ThoughtKept,
    events.ThoughtPruned,
    events.ThoughtFailed,
    events.StepDone,
)
"""What a grouped journal commits together."""
_CREATE = """
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY,
    time REAL NOT NULL,
    kind TEXT NOT NULL,
    problem TEXT,
    data TEXT NOT NULL
)
"""
_log = logging.getLogger(__name__)


class Journal:
    """A sink that appends each event to the SQLite file at `path`; an existing journal is continued.

    While it is open it is in WAL mode; closed, it is one plain file, which opens from a read-only folder as well.

    An event is committed before the call returns: killing the process loses no event whose call has returned. A power
    cut may lose the last events, but leaves a readable file. Use as a context manager, in one thread.
    grouped: events of thoughts and steps are committed together, by `commit`, at the end or with the next other event.

    Raises UserError when the file is not a journal, or was written by a newer version.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time, *, grouped: bool = False) -> None:
        """`clock` gives seconds since 1970."""
        self._clock = clock
        self._grouped = grouped
        self._path = path
        self._broken: UserError | None = None
        _check_whole(path)
        self._rows: list[tuple[float, str, str | None, str]] = []
        with ExitStack() as on_error:
            try:
                self._db = on_error.enter_context(
                    closing(sqlite3.connect(path, timeout=LOCKED_S, isolation_level=None))
                )
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=NORMAL")
                _check_version(self._db, path)
                self._db.execute(_CREATE)
                self._db.execute(f"PRAGMA user_version={VERSION}")
            except sqlite3.DatabaseError as error:
                raise UserError(f"{path} cannot be used as a journal ({error}): {ELSEWHERE}") from error
            on_error.pop_all()

    def __call__(self, event: Event) -> None:
        """Append the event. Raises UserError when the disk is full, and on every later call: a journal has no gaps."""
        if self._broken is not None:
            raise self._broken
        kind, data = row_of(event)
        problem = str(getattr(event, "problem", "")).encode("utf-8", "replace").decode() or None
        self._rows.append((self._clock(), kind, problem, data))
        if not (self._grouped and isinstance(event, OF_A_STEP)):
            self.commit()

    def commit(self) -> None:
        """Commit all events so far. Raises UserError as a call does."""
        rows, self._rows = self._rows, []
        if not rows or self._broken is not None:
            return
        try:
            self._db.execute("BEGIN")
            self._db.executemany("INSERT INTO events (time, kind, problem, data) VALUES (?, ?, ?, ?)", rows)
            self._db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            self._broken = unwritable(self._path, error)
            raise self._broken from error

    def close(self) -> None:
        """Close the file; may be called twice."""
        with suppress(sqlite3.Error, UserError):  # closed already, or full: whoever wrote the last event was told
            self.commit()
        with suppress(sqlite3.Error):  # closed already, or a reader holds it: then it stays in WAL mode
            self._db.execute("PRAGMA busy_timeout=0")
            self._db.execute("PRAGMA journal_mode=DELETE")
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Row(NamedTuple):
    """An event as it lies in the file. time: seconds since 1970. data: its fields as JSON. problem: "" for none."""

    id: int
    time: float
    kind: str
    problem: str
    data: str


def read(path: Path) -> Iterator[Event]:
    """The events of a journal in order, also while it is being written. Raises as `read_timed` does."""
    return (event for _, event in read_timed(path))


def read_timed(path: Path) -> Iterator[tuple[float, Event]]:
    """(seconds since 1970, event) in order; a run folder that was used again holds several runs.

    Events and fields that only a newer treereason knows are left out, and the number of such events is logged as a
    warning; fields that an older one did not write get their defaults. Values that JSON cannot hold come back in the
    form that `jsonable` gave them.

    Raises UserError when there is no journal at `path`, when a newer version wrote it, or when an event lacks a field.
    """
    return typed(path, read_rows(path))


def read_rows(path: Path, first: int = 0, kinds: Sequence[str] = ()) -> Iterator[Row]:
    """The rows of a journal in order, from the id `first` on; of these kinds alone, where some are given.

    Raises UserError when there is no journal at `path`, or when a newer version wrote it.
    """
    if not path.is_file():
        raise UserError(f"{path.parent}: no run was recorded there (no {path.name}): give the folder of a run")
    _check_whole(path)
    if torn(path):
        _log.warning("%s ends in the middle of an event, which is lost; those before it are whole", path)
    where = f" AND kind IN ({','.join('?' * len(kinds))})" if kinds else ""
    try:
        with closing(_open_to_read(path)) as db:
            _check_version(db, path)
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name='events'").fetchone():
                return  # its process was killed when it had just made the file
            select = f"SELECT id, time, kind, problem, data FROM events WHERE id >= ?{where} ORDER BY id"
            for number, moment, kind, problem, data in db.execute(select, (first, *kinds)):
                yield Row(number, _time(path, number, kind, moment), str(kind), problem or "", data)
    except sqlite3.DatabaseError as error:
        raise UserError(f"{path} cannot be read as a journal: {error}") from error


def typed(path: Path, rows: Iterable[Row]) -> Iterator[tuple[float, Event]]:
    """(time, event) of rows of the journal at `path`. Raises UserError for one that lacks a field."""
    kinds = _kinds()
    unknown = 0
    for row in rows:
        if row.kind not in kinds:
            unknown += 1
            continue
        cls, hints = kinds[row.kind]
        try:
            fields = decode(row.data)
            event = cls(**{key: _rebuild(hints[key], fields[key]) for key in hints if key in fields})
        except (TypeError, ValueError, RecursionError) as error:
            raise unreadable(path, row.id, row.kind, error) from error
        yield row.time, event
    if unknown:
        _log.warning("%s: left out %d events of kinds that only a newer treereason knows", path, unknown)


def last_run(timed: Iterable[tuple[float, Event]]) -> list[tuple[float, Event]]:
    """The events of the latest run: a folder that is used again goes on with its journal."""
    run: list[tuple[float, Event]] = []
    for moment, event in timed:
        if isinstance(event, events.RunStarted) and event.pass_name == "search":
            run = []
        run.append((moment, event))
    return run


def torn(path: Path) -> bool:
    """Whether the last event of a journal whose process was killed is not whole in the log beside it."""
    try:
        log = path.with_name(f"{path.name}-wal")
        size = log.stat().st_size
        with log.open("rb") as file:
            page_size = int.from_bytes(file.read(12)[8:], "big")
            rest = (size - WAL_HEADER) % (page_size + WAL_FRAME)
            if size < WAL_HEADER or rest:
                return size > 0
            file.seek(-(page_size + WAL_FRAME), os.SEEK_END)
            ends_transaction = any(file.read(8)[4:])  # the size of the database behind it, 0 within a transaction
            return size > WAL_HEADER and not ends_transaction
    except OSError:
        return False


def _open_to_read(path: Path) -> sqlite3.Connection:
    """Reads a journal in WAL mode needs to write beside it; where that is forbidden, it is taken as it lies there."""
    uri = f"{path.resolve().as_uri()}?mode=ro"
    db = sqlite3.connect(uri, uri=True, timeout=LOCKED_S)
    try:
        db.execute("PRAGMA user_version")
        db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    except sqlite3.OperationalError:
        db.close()
        return sqlite3.connect(f"{uri}&immutable=1", uri=True)
    return db


def _time(path: Path, row: int, kind: str, value: Any) -> float:
    try:
        moment = float(value)
        if not 0 <= moment <= LATEST_S:
            raise ValueError(f"its time is {shown(value)}")
    except (TypeError, ValueError) as error:
        raise unreadable(path, row, kind, error) from error
    return moment


def unreadable(path: Path, row: int, kind: str, error: Exception) -> UserError:
    """What to raise for an event that is not what this program writes."""
    return UserError(f"{path}: event {row} ({kind}) cannot be read: {one_line(error)}")


def _check_whole(path: Path) -> None:
    """Raises UserError for a closed journal that is shorter than its head says: SQLite may read zeros there."""
    try:
        with path.open("rb") as file:
            head = file.read(32)  # its format: https://sqlite.org/fileformat2.html
        size = path.stat().st_size
        open_or_killed = path.with_name(f"{path.name}-wal").exists()
    except OSError:
        return  # whoever opens it is told
    pages, page_size = int.from_bytes(head[28:], "big"), int.from_bytes(head[16:18], "big")
    if head.startswith(b"SQLite format 3") and size < pages * page_size and not open_or_killed:
        raise UserError(f"{path} cannot be read as a journal: it is cut short, {size:,} of {pages * page_size:,} bytes")


def _check_version(db: sqlite3.Connection, path: Path) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise UserError(f"{path} was written by a newer treereason (journal {version}): update treereason")


@cache
def _kinds() -> dict[str, tuple[type[Event], dict[str, Any]]]:
    """By kind the class of events and the types of its fields; made once, for a row may be read at a time."""
    return {_kind(cls): (cls, get_type_hints(cls, vars(events))) for cls in Event.__subclasses__()}


def _kind(cls: type[Event]) -> str:
    """The event kind of a class, without an instance of it."""
    return cls.kind.fget(cls.__new__(cls))  # type: ignore[attr-defined, no-any-return]


def _rebuild(hint: Any, value: Any) -> Any:
    """`value` as the type that a field declares: lists back to tuples, "nan" back to a float."""
    return _reader(hint)(value)


@cache
def _reader(hint: Any) -> Callable[[Any], Any]:
    """What reads values of a type; made once, for a journal has a hundred values a thought."""
    options = get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        inner = _reader(next(option for option in options if option is not NoneType))
        return lambda value: None if value is None else inner(value)
    if get_origin(hint) is tuple:
        of_item = _reader(options[0])
        if options[0] is int:
            return lambda value: tuple(value) if set(map(type, value)) <= {int} else tuple(map(of_item, value))
        return lambda value: tuple(map(of_item, value))
    if hint in (int, bool, str):
        return lambda value: _checked(hint, value)
    if get_origin(hint) is dict:
        of_value = _reader(options[1])
        return lambda value: {key: of_value(item) for key, item in _checked(dict, value).items()}
    return _float if hint is float else lambda value: value


def _checked(hint: type, value: Any) -> Any:
    if not isinstance(value, int if hint is bool else hint):
        raise TypeError(f"{shown(value)} instead of {hint.__name__}")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"{shown(value)} has more than 64 bits")
    return value


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError(str(error)) from None
