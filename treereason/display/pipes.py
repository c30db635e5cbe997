"""Output whose reader goes away, as in `treereason ... | head`: the run goes on and records all."""

from __future__ import annotations

import io
import sys
from typing import Any


class _Lasting(io.FileIO):
    """Drops what nobody reads any more."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(data)


def outlive_readers() -> None:
    """From here on, a closed pipe behind stdout or stderr is silence and no error."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # was closed from the start
            continue
        lasting = io.TextIOWrapper(
            io.BufferedWriter(_Lasting(stream.fileno(), "w", closefd=False)),
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering or stream.write_through,  # the latter by PYTHONUNBUFFERED
        )
        setattr(sys, name, lasting)
