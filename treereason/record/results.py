"""results.jsonl: one line per problem, in problem order at the end, the same bytes for the same seed."""

from __future__ import annotations

import json
import logging
import math
import os
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

from treereason.core import UserError
from treereason.events import Event, ProblemDone, ProblemStarted, RunStarted
from treereason.jsonable import jsonable
from treereason.record.folder import ELSEWHERE, unwritable
from treereason.record.summary import NAME as SUMMARY

NAME = "results.jsonl"
_log = logging.getLogger(__name__)


class Results:
    """A sink that writes `results.jsonl` into `folder`, replacing an earlier one and removing its summary.

    A line is written and flushed as soon as its problem is done; when the file is closed, the lines are put into the
    order in which problems started, whatever finished first. An earlier run's files are replaced when the first
    problem is done, or at the end: a run that fails before that leaves them as they are. Only the search pass counts.
    Scores that are not finite numbers are written as null.

    Raises UserError when the file cannot be replaced or written; no line in it is cut short.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        if self._path.is_dir() or (folder / SUMMARY).is_dir():
            name = self._path if self._path.is_dir() else folder / SUMMARY
            raise UserError(f"{name} cannot be replaced (it is a folder): {ELSEWHERE}")
        self._file: FileIO | None = None
        self._closed = False
        self._order: dict[str, None] = {}
        self._lines: dict[str, bytes] = {}
        self._written: list[str] = []
        self._counts = False

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._counts = event.pass_name == "search"
            case ProblemStarted() if self._counts:
                self._order[event.problem] = None
            case ProblemDone() if self._counts:
                self._lines[event.problem] = line(event).encode()
                self._write(event.problem)

    def close(self, *, complete: bool = True) -> None:
        """Put the lines into the order of the problems, and close the file.

        complete: whether the run came to an end of its own; one that did not, and has written nothing, leaves an
        earlier run's file alone.
        """
        if self._closed:
            return
        self._closed = True
        if self._file is None and complete:
            self._open()
        if self._file is None:
            return
        ordered = [problem for problem in self._order if problem in self._lines]
        with self._file:
            for problem in ordered:
                if problem not in self._written:  # it found no room before
                    self._write(problem)
        if ordered != self._written:
            self._put_in_order(ordered)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(complete=error is None)

    def _open(self) -> FileIO:
        if self._file is None:
            try:
                self._path.with_name(SUMMARY).unlink(missing_ok=True)  # if this run dies, its results have no summary
                self._file = FileIO(self._path, "w")
            except OSError as error:
                raise UserError(f"{error.filename} cannot be replaced ({error.strerror}): {ELSEWHERE}") from error
        return self._file

    def _write(self, problem: str) -> None:
        file = self._open()
        whole = file.tell()
        try:
            self._put(self._lines[problem])
        except OSError as error:
            with suppress(OSError):  # a device
                file.seek(whole)
                file.truncate()
            raise unwritable(self._path, error.strerror) from error
        self._written.append(problem)

    def _put(self, data: bytes) -> None:
        file = self._open()
        while data:
            data = data[file.write(data) :]

    def _put_in_order(self, ordered: list[str]) -> None:
        """Replace the file in one step; where there is no room for a second one, the lines stay as they came."""
        temporary = self._path.with_name(f".{NAME}.{os.getpid()}")
        try:
            temporary.write_bytes(b"".join(self._lines[problem] for problem in ordered))
            temporary.replace(self._path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            _log.warning("%s stays in the order in which problems ended: %s", self._path, error.strerror)


def line(done: ProblemDone) -> str:
    """One line of results.jsonl, with its line end: keys in a fixed order, ASCII only."""
    fields = {
        "id": done.problem,
        "status": done.status,
        "solved": done.solved,
        "score": _finite(done.score),
        "answer": done.answer,
        "best": done.best,
        "error": done.error,
        "tokens_decoded": done.tokens_decoded,
        "tokens_prefilled": done.tokens_prefilled,
        "tokens_reused": done.tokens_reused,
        "tokens_wasted": done.tokens_wasted,
        "kv_tokens_peak": done.kv_tokens_peak,
        "single_sample_scores": [_finite(score) for score in done.single_sample_scores],
        "single_sample_solved": done.single_sample_solved,
        "guided_by": done.guided_by,
        "guided_by_basis": done.guided_by_basis,
    }
    return json.dumps(jsonable(fields)) + "\n"


def _finite(score: float | None) -> float | None:
    return score if score is not None and math.isfinite(score) else None
