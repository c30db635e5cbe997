"""Output whose reader goes away, as in `treereason ... | head`, whose disk is full, or whose encoding lacks a letter:
the run goes on to its end.
"""

from __future__ import annotations

import io
import sys
from typing import Any


class Lasting(io.FileIO):
    """Drops what has no reader any more, and all that follows a `failure`: output with a gap would look complete."""

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        if self.failure is None:
            try:
                return super().write(data)
            except BrokenPipeError:
                pass
            except OSError as error:
                self.failure = error
        return len(data)


def outlive_readers() -> Lasting | None:
    """From now on, stdout and stderr raise no error. Returns the file behind stdout, None when that is closed."""
    stdout = None
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # was closed from the start
            continue
        raw = Lasting(stream.fileno(), "w", closefd=False)
        lasting = io.TextIOWrapper(
            io.BufferedWriter(raw),
            encoding=stream.encoding,
            errors="backslashreplace" if stream.errors == "strict" else stream.errors,
            line_buffering=stream.line_buffering or stream.write_through,  # the latter by PYTHONUNBUFFERED
        )
        setattr(sys, name, lasting)
        stdout = raw if name == "stdout" else stdout
    return stdout
