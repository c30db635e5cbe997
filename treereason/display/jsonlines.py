"""Events as JSON lines on stdout, for other programs."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, redirect_stdout
from dataclasses import fields, replace
from typing import IO, Self

from treereason.display.base import Display, PrintableFormatter, logs_to
from treereason.events import Event, StepDone
from treereason.jsonable import jsonable

PERIOD_S = 1.0


class JsonDisplay(Display):
    """Writes one JSON object per event: its `kind`, then its fields.

    Engine steps of one `launch` are put together, at most one line per second: their counts and seconds are sums since
    the line before, so that adding up lines still gives the truth. While it is open, log lines and prints go to stderr.
    """

    def __init__(self, file: IO[str], clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._file = file
        self._clock = clock
        self._steps: StepDone | None = None
        self._written = clock()
        self._open = ExitStack()

    def __call__(self, event: Event) -> None:
        if isinstance(event, StepDone):
            if self._steps is not None and self._steps.launch != event.launch:
                self._write_steps()
            self._steps = event if self._steps is None else _add(self._steps, event)
            if self._clock() - self._written >= PERIOD_S:
                self._write_steps()
            return
        if event.kind in ("run_started", "run_done", "problem_done"):
            self._write_steps()
        self._write(event)

    def __enter__(self) -> Self:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(PrintableFormatter("%(levelname)s %(name)s: %(message)s"))
        self._open.enter_context(logs_to(handler))
        self._open.enter_context(redirect_stdout(sys.stderr))
        return self

    def close(self) -> None:
        self._write_steps()
        self._open.close()

    def _write_steps(self) -> None:
        if self._steps is not None:
            self._write(self._steps)
        self._steps = None
        self._written = self._clock()

    def _write(self, event: Event) -> None:
        data = {field.name: jsonable(getattr(event, field.name)) for field in fields(event)}
        self._file.write(json.dumps({"kind": event.kind, **data}) + "\n")
        self._file.flush()


def _add(earlier: StepDone, later: StepDone) -> StepDone:
    """One step for two in a row: sums of counts and seconds, the later state."""
    return replace(
        later,
        tokens_prefilled=earlier.tokens_prefilled + later.tokens_prefilled,
        tokens_decoded=earlier.tokens_decoded + later.tokens_decoded,
        tokens_rebuilt=earlier.tokens_rebuilt + later.tokens_rebuilt,
        kv_tokens_read_tree=earlier.kv_tokens_read_tree + later.kv_tokens_read_tree,
        kv_tokens_read_sequence=earlier.kv_tokens_read_sequence + later.kv_tokens_read_sequence,
        kv_tokens_read_spans=earlier.kv_tokens_read_spans + later.kv_tokens_read_spans,
        seconds=earlier.seconds + later.seconds,
    )
