"""The state of a run: which problem is on show, and its figures."""

from __future__ import annotations

import pytest

from tests.display.scripted_run import problem_done, run_started
from treereason.display.state import DWELL_S, RunState
from treereason.events import ProblemStarted, StepDone, ThoughtCreated


def test_the_problem_on_show_stays_until_it_is_done_and_seen() -> None:
    state = RunState(run_started(3), 0.0)
    for problem in "abc":
        state.apply(ProblemStarted(problem, problem), 0.0)
    for i in range(100):
        state.apply(ThoughtCreated("abc"[i % 3], (i,), ((),)), 0.001 * i)
    shown = state.snapshot(0.2, 10).problem
    other = next(problem for problem in "abc" if problem != shown)
    state.apply(problem_done(shown), 0.3)
    state.apply(ThoughtCreated(other, (200,), ((),)), 0.4)
    assert state.snapshot(0.5, 10).problem == shown
    assert state.snapshot(0.5 + DWELL_S, 10).problem == other


def test_pace_left_and_ratio() -> None:
    state = RunState(run_started(10), 0.0)
    assert state.snapshot(1.0, 5).seconds_left is None
    for i in range(100):
        state.apply(StepDone(i, 4, 0, 0, 8, 10, 12, 100, 10, 50, 0.1), i * 0.1)
    state.apply(ProblemStarted("a", 1), 10.0)
    state.apply(problem_done("a"), 10.0)
    found = state.snapshot(10.0, 5)
    assert found.seconds_left == pytest.approx(90.0)
    assert found.tokens_per_second == pytest.approx(80.0, rel=0.03)
    assert found.kv_read_ratio == 5.0
    assert state.snapshot(60.0, 5).tokens_per_second == 0.0
