"""Votes are by equality of answers, whatever their type."""

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from treereason.search.equal import group_equal


class Broken:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no equality here")

    __hash__ = None  # type: ignore[assignment]


class Vague:
    """As an array of several numbers, whose == has no one truth."""

    def __eq__(self, other: object) -> Any:
        return self

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise ValueError("ambiguous")


@dataclass
class Placed:
    """It kept the hash of the place where it lies, which says nothing of what it is equal to."""

    x: int
    __hash__ = object.__hash__


@dataclass
class Point:
    x: float


@pytest.mark.parametrize(
    ("answers", "groups"),
    [
        ([7, 7, 5, 5.0, Fraction(5)], [0, 0, 1, 1, 1]),
        ([Decimal("5"), 5.0, Decimal("5.00"), 5], [0, 0, 0, 0]),
        ([{"a": 1, "b": 2}, {"b": 2, "a": 1.0}, {"a": 1}], [0, 0, 1]),
        ([[5], [5.0], [Decimal(5)], (5,)], [0, 0, 0, 1]),
        ([frozenset({1}), {1}, {1.0}], [0, 0, 0]),
        ([{1}, frozenset({1}), frozenset({1})], [0, 0, 0]),
        (["5", 5, "5", None], [0, 1, 0, 2]),
        ([Point(1), Point(1.0), Point(2)], [0, 0, 1]),
        ([0.5, Fraction(1, 2), Decimal("0.5"), 0.1, Decimal("0.1")], [0, 0, 0, 1, 2]),
        ([np.array([1, 2]), np.array([1, 2]), np.array([1, 3]), 1], [0, 0, 1, 2]),
        ([np.array([1]), np.array([1, 1]), np.array([]), np.array([])], [0, 1, 2, 2]),
        ([torch.tensor([1, 2]), torch.tensor([1, 2]), torch.tensor([1]), torch.tensor(5), 5, 5.0], [0, 0, 1, 2, 2, 2]),
        ([Placed(1), Placed(1), Placed(2)], [0, 0, 1]),
        ([], []),
    ],
)
def test_equal_answers_are_one_whatever_their_type(answers: list[Any], groups: list[int]) -> None:
    assert group_equal(answers) == groups


def test_an_answer_without_a_usable_equality_is_equal_to_itself_alone() -> None:
    broken, vague = Broken(), Vague()
    assert group_equal([broken, vague, broken, Broken(), vague, Vague(), Decimal("sNaN"), 1]) == [
        0,
        1,
        0,
        2,
        1,
        3,
        4,
        5,
    ]


@given(st.lists(st.integers(-3, 3) | st.fractions(-2, 2, max_denominator=2) | st.lists(st.integers(0, 2), max_size=2)))
def test_a_group_holds_all_that_are_equal_and_no_other(values: list[Any]) -> None:
    groups = group_equal(values)
    for one, group in zip(values, groups, strict=True):
        assert [other == one for other in values] == [number == group for number in groups]
    assert sum(Counter(groups).values()) == len(values)
