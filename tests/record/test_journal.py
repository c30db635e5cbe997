"""The journal gives back what was put in, and loses nothing when its writer is killed."""

from __future__ import annotations

import dataclasses
import logging
import math
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treereason.core import UserError
from treereason.events import (
    Event,
    ProblemDone,
    ProblemLeased,
    ProblemStarted,
    RunDone,
    RunResumed,
    RunStarted,
    StepDone,
    ThoughtCreated,
    ThoughtDecoded,
    ThoughtEvaluated,
    ThoughtFailed,
    ThoughtKept,
    ThoughtPruned,
    ThoughtResumed,
    ThoughtScored,
)
from treereason.jsonable import jsonable
from treereason.record import Journal, read, read_timed

EVENTS: list[Event] = [
    RunStarted("sorting", "tree_of_thoughts", "embedded", "oracle", 3, 2, config={"search": {"k": 5, "b": 1}}),
    ProblemStarted("p-0", [3, 1, 2]),
    ThoughtCreated("p-0", (0,), ((),)),
    ThoughtCreated("p-0", (0, 1), ((0,), (2, 7))),
    ThoughtDecoded("p-0", (0,), "[1, 2\udc80", [1, 2], -0.1, 5, 6, 7, finish="stop"),
    ThoughtScored("p-0", (0,), 0.1 + 0.2, True),
    ThoughtScored("p-0", (1,), -math.inf, False, by="oracle"),
    ThoughtKept("p-0", (0,)),
    ThoughtPruned("p-0", (1,)),
    ThoughtFailed("p-0", (2,), "broken\n"),
    ThoughtFailed("p-0", (3,), "parse: no", decoded={"text": "x", "tokens": [1, 2]}),
    ThoughtResumed("p-0", (1,), 9),
    ThoughtDecoded(*("p-0", (1,), "ab", None, -0.1, 5, 6, 7), tokens=(4, 2), token_statistics=((0.5, 1.0, 2.0),)),
    ThoughtEvaluated("p-0", (1,), 2.0, False, by="oracle"),
    RunResumed(("seed was 0, is 1",)),
    ProblemLeased("p-1", 2),
    StepDone(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0.25),
    StepDone(2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0.25, launch="graph"),
    ProblemDone("p-0", "done", True, 1.0, {"a": None}, (0, 1), None, 1, 2, 3, 4, (0.5, 1.0)),
    ProblemDone("p-1", "failed", False, None, None, None, "no memory", 1, 2, 3, 4),
    ProblemDone(
        *("p-2", "done", True, 1.0, 7, (0,), None, 1, 2, 3, 4),
        thoughts_failed=2,
        first_thought_error="no number",
        guided_by=("oracle", "checker"),
    ),
    RunDone("done", {"solved": 1}, "outputs/1"),
]


def test_events_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    ticks = iter(range(100))
    with Journal(path, clock=lambda: float(next(ticks))) as journal:
        for event in EVENTS:
            journal(event)
    assert {type(event) for event in EVENTS} == set(Event.__subclasses__())
    assert list(read_timed(path)) == [(float(i), event) for i, event in enumerate(EVENTS)]


def test_a_journal_is_continued_and_read_while_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    for event in EVENTS[:2]:
        with Journal(path) as journal:
            journal(event)
    with Journal(path) as journal:
        journal(EVENTS[2])
        assert list(read(path)) == EVENTS[:3]


def test_sigkill_loses_no_acknowledged_event(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    program = """
import sys
from pathlib import Path
from treereason.events import ThoughtKept
from treereason.record import Journal
journal = Journal(Path(sys.argv[1]))
for i in range(10**9):
    journal(ThoughtKept("p", (i,)))
    sys.stdout.write(f"{i}\\n")
    sys.stdout.flush()
"""
    written = 0
    for kill_after in (50, 400, 1500):
        with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(kill_after):
                writer.stdout.readline()
            writer.send_signal(signal.SIGKILL)
            acknowledged = kill_after + sum(line.endswith("\n") for line in writer.stdout)
        events = list(read(path))[written:]
        assert len(events) >= acknowledged
        assert events == [ThoughtKept("p", (i,)) for i in range(len(events))]
        written += len(events)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_what_a_newer_version_wrote_is_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        journal(EVENTS[1])
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO events (time, kind, data) VALUES (0, 'thought_dreamt', '{}')")
        db.execute("""INSERT INTO events (time, kind, data) VALUES
            (0, 'thought_kept', '{"problem": "p", "thought": [1], "mood": "new"}')""")
    db.close()
    with caplog.at_level(logging.WARNING):
        assert list(read(path)) == [EVENTS[1], ThoughtKept("p", (1,))]
    assert "left out 1 events" in caplog.text


def test_a_journal_of_an_older_version_is_read_with_defaults(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    Journal(path).close()
    with sqlite3.connect(path) as db:
        db.execute("""INSERT INTO events (time, kind, data) VALUES
            (0, 'thought_scored', '{"problem": "p", "thought": [1], "score": 0.5, "final": false}')""")
    db.close()
    assert list(read(path)) == [ThoughtScored("p", (1,), 0.5, False, by="")]


def test_mistakes_are_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run was recorded there"):
        list(read(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
    text = tmp_path / "text"
    text.write_text("no database, and long enough to be taken for one" * 100)
    for unusable in (text, tmp_path):
        with pytest.raises(UserError, match=r"used as a journal \(.*\): choose another folder with hydra\.run\.dir"):
            Journal(unusable)
    with pytest.raises(UserError, match="cannot be read as a journal"):
        list(read(text))
    newer = tmp_path / "newer"
    Journal(newer).close()
    with sqlite3.connect(newer) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(UserError, match="newer treereason"):
        Journal(newer)
    with pytest.raises(UserError, match="newer treereason"):
        list(read(newer))


def test_a_journal_whose_process_was_killed_at_its_birth_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    for tables in ("", "PRAGMA journal_mode=WAL"):
        with closing(sqlite3.connect(path)) as db:
            db.execute(tables)
        assert list(read(path)) == []


def test_an_event_without_a_field_names_its_row(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    Journal(path).close()
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO events (time, kind, data) VALUES (0, 'thought_kept', '{}')")
    db.close()
    with pytest.raises(UserError, match=r"event 1 \(thought_kept\)"):
        list(read(path))


class Colour(Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: Any


class Plain:
    pass


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Broken(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, (2,)), [1, [2]]),
        ({3, 1, 2}, [1, 2, 3]),
        (Point(1, {"a"}), {"x": 1, "y": ["a"]}),
        (Colour.RED, "red"),
        ({1: "a", (2, 3): "b", Colour.RED: "c"}, {"1": "a", "(2, 3)": "b", "red": "c"}),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (Fraction(1, 3), "Fraction(1, 3)"),
        (b"\x00", "b'\\x00'"),
        (Path("a/b"), "a/b"),
        (Plain(), f"<{Plain.__module__}.Plain object>"),
        (Rude(), "<Rude>"),
        (Point, f"<class '{Point.__module__}.Point'>"),
        (10**400, 10**400),
        (Broken({"a": 1}), "{'a': 1}"),
    ],
)
def test_any_answer_has_a_json_form(value: Any, expected: Any) -> None:
    assert jsonable(value) == expected


def test_an_integer_too_long_for_decimal_text_is_hexadecimal() -> None:
    assert jsonable([-(1 << 20_000)]) == [hex(-(1 << 20_000))]


def test_circles_end() -> None:
    circle: list[Any] = [1]
    circle += [circle, circle]
    assert jsonable(circle) == [1, "...", "..."]
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    jsonable(deep)


ANSWERS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary() | st.builds(Plain),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.integers() | st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ANSWERS, max_size=3))
def test_no_answer_breaks_the_journal(tmp_path_factory: pytest.TempPathFactory, answers: list[Any]) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.sqlite"
    with Journal(path) as journal:
        for answer in answers:
            journal(ProblemStarted("\udc80" if answer else "p", answer))
    assert list(read(path)) == [ProblemStarted("\udc80" if a else "p", jsonable(a)) for a in answers]
