"""Self-consistency on a scripted engine."""

from __future__ import annotations

from tests.fakes import digits
from tests.fakes import run_search as run
from treereason import events
from treereason.controller.budget import Budget
from treereason.search.self_consistency import SelfConsistency


def test_self_consistency_takes_the_majority_and_the_earliest_of_equals() -> None:
    answers = ["3", "7", "7", "9", "3"]
    assert run(SelfConsistency(n=5), lambda path: answers[path[0]]).done.answer == 3
    answers[0] = "9"
    assert run(SelfConsistency(n=4), lambda path: answers[path[0]]).done.best == (0,)


def test_samples_that_the_budget_does_not_pay_for_are_not_drawn() -> None:
    outcome = run(SelfConsistency(n=5), digits, budget=lambda: Budget(2 * 256))
    assert len(outcome.of(events.ThoughtCreated)) == 2
    assert outcome.done.status == "done"
