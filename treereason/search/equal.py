"""Answers grouped by ==, whatever their type."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def group_equal(values: Iterable[Any]) -> list[int]:
    """The number of each value's group: values that are equal share one, groups are numbered as they appear.

    5, 5.0, Decimal(5) and Fraction(5) are one answer, and so are dicts in whatever order, and arrays or tensors of one
    shape with the same elements. A value is compared with the first of each group; where Python can hash it by what it
    is equal to, a look-up takes the place of that. NaN equals nothing but itself as the same object.
    """
    firsts: list[Any] = []
    by_hash: dict[Any, int] = {}
    unhashable: list[int] = []
    numbers = []
    for value in values:
        hashable, number = _hashes_as_it_equals(value), None
        try:
            number = by_hash.get(value) if hashable else None
        except Exception:  # it has no hash, or one that fails
            hashable = False
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


def _hashes_as_it_equals(value: Any) -> bool:
    """False for tensors and others that have an == of their own, and the hash of the place where they lie."""
    kind: Any = type(value)
    own: Any = object
    by_place = kind.__hash__ is own.__hash__ and kind.__eq__ is not own.__eq__
    return not by_place and not hasattr(kind, "shape")


def _equal(one: Any, other: Any) -> bool:
    try:
        if one is other:
            return True
        same = one == other
        if getattr(same, "shape", ()):  # arrays and tensors compare element by element, and as large as they like
            return bool(one.shape == other.shape and same.all())
        return bool(same)
    except Exception:  # a user's == may fail
        return False
