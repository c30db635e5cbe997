"""Exceptions of libraries that read what a user gave, as one line about the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from treereason.core import UserError
from treereason.text import one_line, printable


@contextmanager
def blaming(name: str, what: str) -> Iterator[None]:
    """Any exception inside becomes a UserError: transformers stumbles in many ways over what a user's files hold."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"model.name={name}: {what}: {printable(one_line(error))}") from None
