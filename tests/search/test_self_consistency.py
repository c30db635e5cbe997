"""Self-consistency on a scripted engine."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from tests.fakes import NumberTask, digits
from tests.fakes import run_search as run
from treereason import events
from treereason.controller.budget import Budget
from treereason.core import Score, Thought
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


@dataclass
class ParsedTask(NumberTask):
    """Answers are of whatever type Python makes of the text."""

    def parse(self, thought: Thought) -> Any:
        return eval(thought.text, {"F": Fraction, "D": Decimal})


@pytest.mark.parametrize(
    "answers",
    [
        ["7", "7", "5", "5.0", "F(5)"],
        ["7", "7", "D('5.00')", "5.0", "D(5)"],
        ["7", "7", "{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}", "{'a': 1.0, 'b': 2}"],
        ["7", "7", "[5]", "[5.0]", "[F(5)]"],
    ],
)
def test_a_vote_counts_answers_and_not_spellings(answers: list[str]) -> None:
    outcome = run(SelfConsistency(n=5), lambda path: answers[path[0]], task=ParsedTask(), scorer=lambda _: Score(0.0))
    assert outcome.done.best == (2,)


def test_a_vote_counts_what_a_thought_stands_for() -> None:
    @dataclass
    class Weighted(NumberTask):
        def parse(self, thought: Thought) -> Any:
            thought.multiplicity = 3 if thought.path == (2,) else 1
            return super().parse(thought)

    answers = ["7", "7", "5"]
    assert run(SelfConsistency(n=3), lambda path: answers[path[0]], task=Weighted()).done.answer == 5
