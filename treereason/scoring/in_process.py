"""Scores thoughts in the process of the run: for scorers that another process cannot import, as those of a notebook."""

from __future__ import annotations

import sys
from collections import deque
from contextlib import suppress
from typing import Any

from treereason.core import Score, Scorer, Thought
from treereason.scoring.verdict import kind_of, read_batch, read_verdict
from treereason.text import describe


class InProcess:
    """A queue of thoughts, scored one after the other by `poll`; the counterpart of `process.Scoring`.

    What a process of its own would give is lost: there is no time limit, and a scorer that hangs or kills the process
    does so to the run. One that raises still fails its thought alone. It sees the thought itself, not a copy.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._queue: deque[Thought] = deque()

    def submit(self, thought: Thought) -> None:
        """Queue a thought."""
        self._queue.append(thought)

    def poll(self, wait_s: float) -> list[tuple[Thought, Score | str]]:  # noqa: ARG002
        """Score what is queued: each a score or an error, in the order of submission."""
        thoughts, self._queue = self._queue, deque()
        if kind_of(self._scorer) == "batch" and thoughts:
            with suppress(Exception):  # then one by one, so that only the guilty one fails
                return list(zip(thoughts, read_batch(self._scorer(list(thoughts)), len(thoughts)), strict=True))
        return [(thought, self._verdict(thought)) for thought in thoughts]

    def stop(self, problem: str, error: str) -> list[tuple[Thought, Score | str]]:
        """Take back a problem's thoughts with `error`."""
        taken = [thought for thought in self._queue if thought.problem.id == problem]
        self._queue = deque(thought for thought in self._queue if thought.problem.id != problem)
        return [(thought, error) for thought in taken]

    def close(self) -> None:
        """Drop what is queued."""
        self._queue.clear()

    def _verdict(self, thought: Thought) -> Score | str:
        try:
            if kind_of(self._scorer) == "batch":
                return read_batch(self._scorer([thought]), 1)[0]
            return read_verdict(self._scorer(thought))
        except (Exception, SystemExit) as error:  # Ctrl-C is meant for the run
            return describe(error)


def importable(scorer: Any) -> str | None:
    """`module:name` under which another process finds the very same object, None where it cannot.

    None for lambdas, closures and objects, and for what a script or notebook defines: another process would have to
    run that from its start.
    """
    module, name = getattr(scorer, "__module__", None), getattr(scorer, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module == "__main__":
        return None
    found: Any = sys.modules.get(module)
    if getattr(found, "__spec__", None) is None:
        return None
    for part in name.split("."):
        found = getattr(found, part, None)
    return f"{module}:{name}" if found is scorer else None
