"""Frames of the live view, and what a frame shows of failures, probes and small terminals."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from syrupy.assertion import SnapshotAssertion

from tests.display.scripted_run import Script, drawn, half_way, problem_done, run_started, step_done
from treereason.events import (
    Event,
    ProblemStarted,
    ThoughtCreated,
    ThoughtDecoded,
    ThoughtFailed,
    ThoughtKept,
    ThoughtPruned,
    ThoughtScored,
)

PATHS = st.lists(st.integers(0, 3), max_size=4).map(tuple)
THOUGHT_EVENTS = st.one_of(
    st.builds(ThoughtCreated, st.just("p"), PATHS, st.lists(PATHS, max_size=2).map(tuple), st.booleans()),
    st.builds(ThoughtDecoded, st.just("p"), PATHS, st.text(), st.none(), *[st.just(1)] * 4),
    st.builds(ThoughtScored, st.just("p"), PATHS, st.floats(), st.booleans()),
    st.builds(ThoughtKept, st.just("p"), PATHS),
    st.builds(ThoughtPruned, st.sampled_from(["p", "unknown"]), PATHS),
    st.builds(ThoughtFailed, st.just("p"), PATHS, st.text()),
    st.builds(problem_done, st.just("p"), best=st.none() | PATHS, score=st.none() | st.floats()),
)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_live_frame(size: tuple[int, int], snapshot: SnapshotAssertion) -> None:
    assert "\n".join(drawn(half_way(Script(problems=16)), *size)) == snapshot


@settings(deadline=None)
@given(st.lists(THOUGHT_EVENTS, max_size=40), st.integers(1, 90), st.integers(1, 30))
def test_no_order_of_events_breaks_a_frame(events: list[Event], width: int, height: int) -> None:
    lines = drawn([run_started(2), ProblemStarted("p", "?"), *events], width, height)
    assert len(lines) <= max(1, height - 1)
    assert all(cell_len(line) <= width for line in lines)


@pytest.mark.parametrize("width", [1, 20, 23, 24, 44, 60, 80, 200])
@pytest.mark.parametrize("height", [1, 5, 10, 12, 24, 60])
def test_a_frame_fits_every_terminal(width: int, height: int) -> None:
    for events in (half_way(Script(k=12, b=4)), [run_started(3)], []):
        lines = drawn(events, width, height)
        assert len(lines) <= max(1, height - 1)
        assert all(cell_len(line) <= width for line in lines)


def test_a_narrow_terminal_shows_the_thoughts_and_the_kv_in_use() -> None:
    text = "\n".join(drawn(half_way(Script()), 40, 24))
    assert "─ problem sum-" in text
    assert " ├─" in text
    assert re.search(r"KV cache +\d[\d,]* of ", text)


def test_a_probe_marks_the_thought_that_it_asks_about_and_is_neither_a_thought_nor_pruned() -> None:
    events = [
        run_started(1),
        ProblemStarted("p", "q"),
        *(ThoughtCreated("p", (rank,), ((),)) for rank in range(2)),
        *(ThoughtDecoded("p", (rank,), f"idea {rank}", None, 0.0, 0, 0, 0) for rank in range(2)),
        ThoughtCreated("p", (1, 0), ((1,),), probe=True),
    ]
    lines = drawn(events)
    assert [line.rstrip("│ ").endswith("probing") for line in lines if "idea" in line] == [False, True]
    assert any("2 thoughts" in line for line in lines)
    events += [ThoughtDecoded("p", (1, 0), "likely", None, 0.0, 0, 0, 0), ThoughtCreated("p", (1, 1), ((1,),))]
    text = "\n".join(drawn(events))
    assert "probing" not in text
    assert "likely" not in text
    assert "0 pruned" in text
    assert "1 more" not in text
    assert "decoding" in text


def test_a_probe_that_fails_is_shown_with_its_error() -> None:
    created = ThoughtCreated("p", (0,), ((),), probe=True)
    text = "\n".join(drawn([run_started(1), ProblemStarted("p", "q"), created, ThoughtFailed("p", (0,), "no room")]))
    assert "✗ no room" in text
    assert "probing" not in text


def test_failed_thoughts_are_counted() -> None:
    created = [ThoughtCreated("p", (rank,), ((),)) for rank in range(3)]
    failed = [ThoughtFailed("p", (rank,), "no verdict") for rank in range(2)]
    events = [run_started(1), ProblemStarted("p", 1), *created, step_done()]
    assert "failed" not in "\n".join(drawn(events))
    assert re.search(r"branches .* 0 pruned +2 failed", "\n".join(drawn([*events, *failed])))
