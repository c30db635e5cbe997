"""results.jsonl: one line per problem, in problem order, the same bytes for the same seed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import TracebackType
from typing import Self

from treereason.core import UserError
from treereason.events import Event, ProblemDone, ProblemStarted, RunStarted
from treereason.jsonable import jsonable
from treereason.record.folder import ELSEWHERE, unwritable
from treereason.record.summary import NAME as SUMMARY

NAME = "results.jsonl"


class Results:
    """A sink that writes `results.jsonl` into `folder`, replacing an earlier one and removing its summary.

    Lines come in the order in which problems started, not in which they finished: a line is written as soon as all
    earlier problems are done, or when the file is closed. Only the search pass is written, not the greedy one. Scores
    that are not finite numbers are written as null.

    Raises UserError when the file cannot be replaced or written; no line in it is cut short.
    """

    def __init__(self, folder: Path) -> None:
        try:
            (folder / SUMMARY).unlink(missing_ok=True)  # if this run dies, its results have no summary
            self._file = (folder / NAME).open("wb", buffering=0)
        except OSError as error:
            raise UserError(f"{error.filename} cannot be replaced ({error.strerror}): {ELSEWHERE}") from error
        self._path = folder / NAME
        self._waiting: dict[str, ProblemDone | None] = {}
        self._counts = False

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._counts = event.pass_name == "search"
            case ProblemStarted() if self._counts:
                self._waiting[event.problem] = None
            case ProblemDone() if self._counts:
                self._waiting[event.problem] = event
                self._write_ready()

    def close(self) -> None:
        """Write the lines that still wait for an unfinished earlier problem, and close the file."""
        if self._file.closed:
            return
        with self._file:
            for done in self._waiting.values():
                if done is not None:
                    self._write(done)
            self._waiting.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write_ready(self) -> None:
        for problem, done in list(self._waiting.items()):
            if done is None:
                break
            self._write(done)
            del self._waiting[problem]

    def _write(self, done: ProblemDone) -> None:
        whole, data = self._file.tell(), line(done).encode()
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            self._file.seek(whole)
            self._file.truncate()
            raise unwritable(self._path, error.strerror) from error


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
    }
    return json.dumps(jsonable(fields)) + "\n"


def _finite(score: float | None) -> float | None:
    return score if score is not None and math.isfinite(score) else None
