"""Panics of the tokenizers library, which is written in Rust: they are no `Exception`, and they print lines."""

from __future__ import annotations

import os
import sys
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
    """As no_panic; and what the library prints of a file, on stdout, or on stderr as it panics, is dropped.

    What else came on stderr follows when the block ends without an exception, but for lines with control characters.
    It moves the process's stdout and stderr, so it is for short work at the start.
    """
    with no_panic(), tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with _moved(1, out.fileno()), _moved(2, err.fileno()):
            yield
        err.seek(0)
        for line in err.read().decode(errors="replace").splitlines():
            if line.isprintable():
                print(line, file=sys.stderr)  # noqa: T201


@contextmanager
def _moved(descriptor: int, target: int) -> Iterator[None]:
    """The descriptor leads to another one's file inside; one that is closed stays so."""
    try:
        before = os.dup(descriptor)
    except OSError:
        yield
        return
    os.dup2(target, descriptor)
    try:
        yield
    finally:
        os.dup2(before, descriptor)
        os.close(before)
