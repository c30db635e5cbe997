"""Intervals of means, held against every resample there is and against the normal distribution."""

from __future__ import annotations

import itertools
import statistics

import numpy as np
import pytest

from treereason.analysis.bootstrap import interval, intervals


def test_the_ends_are_those_of_all_resamples_that_there_are() -> None:
    values = [0.0, 0.0, 1.0, 5.0]
    means = [statistics.fmean(drawn) for drawn in itertools.product(values, repeat=4)]  # 256, all equally likely
    low, high = np.percentile(means, (2.5, 97.5))
    assert interval(values) == pytest.approx((low, high))


def test_for_many_values_the_interval_is_the_one_of_the_central_limit() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 2000).tolist()
    half = 1.959964 * statistics.pstdev(values) / 2000**0.5
    mean = statistics.fmean(values)
    assert interval(values) == pytest.approx((mean - half, mean + half), abs=0.01)


def test_equal_values_have_exactly_their_own_value_at_both_ends() -> None:
    assert interval([1.0] * 40) == (1.0, 1.0)


def test_one_value_tells_nothing_of_the_spread() -> None:
    assert interval([1.0]) is None
    assert interval([]) is None


def test_columns_share_their_draws_and_the_seed_decides_them() -> None:
    values = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    left, right = intervals(values)
    assert left == pytest.approx((1 - right[1], 1 - right[0]))
    assert intervals(values) == [left, right]
    assert interval(values[:, 0].tolist()) == left


def test_many_problems_take_bounded_memory_and_the_same_code() -> None:
    low, high = intervals(np.arange(50_000.0)[:, None], resamples=200)[0]
    assert 24_700 < low < 25_000 < high < 25_300
