"""Best of n on a scripted engine, and samples that are chains of steps."""

from __future__ import annotations

from tests.fakes import NumberTask, digits
from tests.fakes import run_search as run
from treereason import events
from treereason.search.best_of_n import BestOfN


def test_best_of_n_takes_the_highest_score() -> None:
    outcome = run(BestOfN(n=4), lambda path: "1805"[path[0]])
    assert (outcome.done.answer, outcome.done.score) == (8, 8.0)
    assert outcome.done.single_sample_scores == (1.0, 8.0, 0.0, 5.0)


def test_samples_of_a_stepwise_task_are_chains() -> None:
    outcome = run(BestOfN(n=2), digits, NumberTask(steps=3))
    assert outcome.done.best == (0, 0, 0)
    assert {e.thought for e in outcome.of(events.ThoughtCreated)} == {
        (0,), (1,), (0, 0), (1, 0), (0, 0, 0), (1, 0, 0),
    }  # fmt: skip
    assert outcome.done.tokens_decoded == 6
