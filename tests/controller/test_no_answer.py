"""A problem without an answer tells what became of its thoughts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from treereason.controller.budget import Budget
from treereason.controller.no_answer import why_no_answer
from treereason.core import Status


@pytest.mark.parametrize(
    ("statuses", "num_cut", "num_empty", "tokens", "told"),
    [
        ([], 0, 0, None, ": none was made"),
        ([Status.KEPT], 0, 0, None, ""),
        ([Status.DECODED], 1, 0, 0, ": of 1 thoughts, 1 cut at max_tokens, budget.tokens were spent"),
        ([Status.PRUNED, Status.PRUNED, Status.DECODED], 0, 1, 9, ": of 3 thoughts, 1 empty, 2 pruned"),
    ],
)
def test_the_error_tells_what_became_of_the_thoughts(
    statuses: list[Status], num_cut: int, num_empty: int, tokens: int | None, told: str
) -> None:
    thoughts = [SimpleNamespace(status=status) for status in statuses]
    growth: Any = SimpleNamespace(thoughts=thoughts, num_cut=num_cut, num_empty=num_empty, budget=Budget(tokens))
    assert why_no_answer(growth) == f"no thought holds an answer{told}"
