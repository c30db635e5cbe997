"""Answers grouped by ==, whatever their type."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def group_equal(values: Iterable[Any]) -> list[int]:
    """The number of each value's group: values that are equal share one, groups are numbered as they appear.

    5, 5.0, Decimal(5) and Fraction(5) are one answer, and so are dicts in whatever order. A value is compared with the
    first of each group; where Python can hash it, a look-up takes the place of that.
    """
    firsts: list[Any] = []
    by_hash: dict[Any, int] = {}
    unhashable: list[int] = []
    numbers = []
    for value in values:
        try:
            number, hashable = by_hash.get(value), True
        except Exception:  # it has no hash, or one that fails
            number, hashable = None, False
        if number is None:
            others = unhashable if hashable else range(len(firsts))
            number = next((other for other in others if _equal(firsts[other], value)), None)
        if number is None:
            number = len(firsts)
            firsts.append(value)
            if not hashable:
                unhashable.append(number)
        if hashable:
            by_hash.setdefault(value, number)
        numbers.append(number)
    return numbers


def _equal(one: Any, other: Any) -> bool:
    try:
        return one is other or bool(one == other)
    except Exception:  # arrays have no one truth, and a user's == may fail
        return False
