"""Which lane a test runs in. Knows pytest alone, for tests that a GPU machine runs without the other packages."""

from __future__ import annotations

from typing import Any

import pytest


def slow(*values: Any) -> list[Any]:
    """Parameters of a test that only the slow lane tries: more of a kind of which one is always tried.

    values: one a case, or a tuple where a case has several parameters.
    """
    return [slow_case(*(value if isinstance(value, tuple) else (value,))) for value in values]


def slow_case(*values: Any) -> Any:
    """The same for one case of the given parameters, which may be tuples themselves."""
    return pytest.param(*values, marks=pytest.mark.slow)
