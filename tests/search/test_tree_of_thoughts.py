"""Tree of thoughts on a scripted engine."""

from __future__ import annotations

from tests.fakes import NumberTask, digits
from tests.fakes import run_search as run
from treereason import events
from treereason.core import ThoughtPath
from treereason.search.tree_of_thoughts import TreeOfThoughts


def test_tree_of_thoughts_keeps_the_b_best_and_returns_the_others_now() -> None:
    outcome = run(TreeOfThoughts(k=3, b=2, steps=2), digits, NumberTask(steps=2))
    assert [e.thought for e in outcome.of(events.ThoughtKept)] == [(2,), (1,), (1, 2), (2, 2)]
    assert {(0,), (1, 0), (1, 1), (2, 0), (2, 1)} <= set(outcome.engine.dropped)
    assert outcome.done.best == (1, 2)
    assert [e.children for e in outcome.engine.expansions] == [
        ((0,), (1,), (2,)),
        ((2, 0), (2, 1), (2, 2)),
        ((1, 0), (1, 1), (1, 2)),
    ]


def test_tree_of_thoughts_stops_at_a_final_score() -> None:
    outcome = run(TreeOfThoughts(k=2, b=1, steps=5), lambda path: "9" if path == (1,) else "3", NumberTask(steps=9))
    assert len(outcome.engine.expansions) == 1


def test_tree_of_thoughts_goes_on_with_what_is_left_of_failed_thoughts() -> None:
    def script(path: ThoughtPath) -> str | None:
        return None if path == (1,) else str(path[-1])

    outcome = run(TreeOfThoughts(k=2, b=1, steps=1), script)
    assert (outcome.done.best, outcome.done.status) == ((0,), "done")
    assert [e.error for e in outcome.of(events.ThoughtFailed)] == ["out of pages"]


def test_tokens_that_the_answer_does_not_stand_on_are_wasted() -> None:
    outcome = run(TreeOfThoughts(k=3, b=1, steps=2), digits, NumberTask(steps=2))
    assert outcome.done.tokens_decoded == 6
    assert outcome.done.tokens_wasted == 4
