"""The error for a mistake of the user."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake in what the user gave; its text is one line: what, where, what to do."""
