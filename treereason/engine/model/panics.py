"""Panics of the tokenizers library, which is written in Rust: they are no `Exception`, and they print lines."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from treereason.text import one_line


@contextmanager
def no_panic() -> Iterator[None]:
    """A panic inside becomes a ValueError of one line."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # a class that cannot be imported
            raise
        raise ValueError(f"tokenizers panicked: {one_line(error)}") from None


@contextmanager
def silent_panic() -> Iterator[None]:
    """As no_panic; and what a panic prints is dropped. Anything else on stderr comes when the block ends.

    It moves the process's stderr, so it is for short work at the start.
    """
    with no_panic(), tempfile.TemporaryFile() as held:
        try:
            stderr = os.dup(2)
        except OSError:  # it is closed
            yield
            return
        os.dup2(held.fileno(), 2)
        drop = False
        try:
            yield
        except BaseException as error:
            drop = type(error).__name__ == "PanicException"
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            if not drop and (printed := held.read()):
                os.write(2, printed)
