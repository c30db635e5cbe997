"""A run that goes on, and a thought that does, on the displays."""

from __future__ import annotations

import io

from rich.console import Console

from treereason import events
from treereason.core import Status
from treereason.display.plain import PlainDisplay
from treereason.display.thoughts import ShownProblem
from treereason.record.summary import Summary


def test_a_plain_display_says_that_a_run_goes_on() -> None:
    file = io.StringIO()
    display = PlainDisplay(Console(file=file))
    display(events.RunStarted("sorting", "beam", "embedded", "oracle", 0, 3))
    display(events.RunResumed())
    assert file.getvalue().splitlines()[-1] == "goes on, 0 problems done"


def test_a_thought_that_is_resumed_is_decoding_again() -> None:
    problem = ShownProblem.start("0", "input")
    problem.apply(events.ThoughtCreated("0", (0,), ((),)))
    problem.apply(events.ThoughtDecoded("0", (0,), "text", None, 0.0, 1, 1, 0))
    problem.apply(events.ThoughtResumed("0", (0,), 8))
    assert problem.thoughts[0,].status is Status.DECODING


def test_a_run_that_was_killed_after_it_went_on_is_interrupted_by_nothing_earlier() -> None:
    summary = Summary()
    summary(events.RunStarted("sorting", "beam", "embedded", "oracle", 0, 0))
    summary(events.RunDone("interrupted", {}, ""))
    summary(events.RunResumed())
    assert summary.status == "done", "all of its problems are"
