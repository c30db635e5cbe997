"""Plain lines for people, JSON lines for programs."""

from __future__ import annotations

import itertools
import json
import logging
from io import BytesIO, StringIO, TextIOWrapper

import pytest
from rich.console import Console
from syrupy.assertion import SnapshotAssertion

from tests.display.scripted_run import COUNTS, Script, pipe, problem_done, run_done, run_started, step_done
from treereason.display import display
from treereason.display.jsonlines import JsonDisplay
from treereason.display.plain import PlainDisplay
from treereason.events import ProblemStarted, StepDone, ThoughtDecoded, ThoughtFailed


def test_plain_lines(snapshot: SnapshotAssertion) -> None:
    console, file = pipe()
    ticks = itertools.count(0.0, 0.1)
    with PlainDisplay(console, clock=lambda: next(ticks)) as shown:
        for event in [*Script(problems=3).run(), problem_done("late", answer="é"), run_done()]:
            shown(event)
    assert "\x1b" not in file.getvalue()
    assert file.getvalue() == snapshot


def test_plain_lines_in_a_narrow_encoding() -> None:
    raw = BytesIO()
    console = Console(file=TextIOWrapper(raw, encoding="ascii"), force_terminal=False)
    with display("plain", console) as shown:
        for event in [run_started(1), ProblemStarted("p", 1), problem_done("p", answer="漢")]:
            shown(event)
    assert b"answer \\u6f22" in raw.getvalue()


def test_json_lines_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    events = [*Script().run(), run_done()]
    file = StringIO()
    ticks = itertools.count(0.0, 0.01)
    with JsonDisplay(file, clock=lambda: next(ticks)) as shown:
        for event in events:
            shown(event)
        print("a print of a task")  # noqa: T201
        logging.getLogger("test").warning("a log line")
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    steps = [event for event in events if isinstance(event, StepDone)]
    step_lines = [line for line in lines if line["kind"] == "step_done"]
    assert len(step_lines) < len(steps)
    for name in COUNTS:
        assert sum(line[name] for line in step_lines) == pytest.approx(sum(getattr(step, name) for step in steps))
    others = [event.kind for event in events if not isinstance(event, StepDone)]
    assert [line["kind"] for line in lines if line["kind"] != "step_done"] == others
    assert lines[-1]["kind"] == "run_done"
    out, err = capsys.readouterr()
    assert out == ""
    assert "a print of a task" in err
    assert "a log line" in err


def test_json_lines_add_up_for_each_launch() -> None:
    file = StringIO()
    with JsonDisplay(file, clock=lambda: 0.0) as shown:
        for launch in ("prefill", "graph", "graph", "prefill", "prefill"):
            shown(step_done(launch=launch))
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    assert [line["launch"] for line in lines] == ["prefill", "graph", "prefill"]
    assert all([line[name] for line in lines] == [1, 2, 2] for name in COUNTS)


class Silent:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def test_any_answer_can_be_shown() -> None:
    for answer in (10**5000, [10**5000], {10**5000: 1}, float("nan"), "x\ud800", Silent()):
        decoded = ThoughtDecoded("p", (0,), "", answer, 0.0, 1, 1, 1)
        events = [run_started(1), ProblemStarted("p", 1), decoded, step_done(), problem_done("p", answer=answer)]
        console, file = pipe()
        lines = StringIO()
        with PlainDisplay(console) as plain, JsonDisplay(lines) as in_json:
            for event in events:
                plain(event)
                in_json(event)
        assert "p: solved, score 0.90, answer " in file.getvalue()
        assert [json.loads(line)["kind"] for line in lines.getvalue().splitlines()][-1] == "problem_done"


def test_plain_lines_count_failed_thoughts() -> None:
    console, file = pipe()
    ticks = itertools.count(0.0, 3.0)
    failed = [ThoughtFailed("p", (rank,), "no verdict") for rank in range(2)]
    events = [run_started(1), ProblemStarted("p", 1), *failed, step_done(), problem_done("p", thoughts_failed=2)]
    with PlainDisplay(console, clock=lambda: next(ticks)) as shown:
        for event in events:
            shown(event)
    assert "0 pruned, 2 failed, " in file.getvalue()
    assert "p: solved, score 0.90, answer 42 (2 thoughts failed)\n" in file.getvalue()
