"""Choice by log-probability, on scripted likelihoods and on the shipped model."""

from __future__ import annotations

from typing import Literal

import pytest

import treereason
from tests.fakes import digits, run_search
from treereason.core import Problem, Writing
from treereason.search import Choose, SelfConsistency
from treereason.tasks import Choices, FewShot
from treereason.tasks.base import exact_match

PROBLEM = Problem("p", {"question": "q", "choices": {"A": "no", "B": "yes indeed", "C": "perhaps"}}, "B")
LIKELY = {" no": -3.0, " yes indeed": -4.0, " perhaps": -3.5}


@pytest.mark.parametrize(("normalise", "answer"), [("none", "A"), ("token", "B"), ("character", "B")])
def test_the_likeliest_option_is_the_answer(normalise: Literal["none", "token", "character"], answer: str) -> None:
    task = Choices(answer_with="text", examples=0)
    outcome = run_search(Choose(normalise), digits, task, exact_match, likely=LIKELY.__getitem__, problems=[PROBLEM])
    assert outcome.done.answer == answer
    assert (outcome.done.tokens_decoded, outcome.done.solved) == (0, answer == "B")
    [request] = outcome.engine.requests
    assert isinstance(request, Writing)
    assert request.texts == tuple(LIKELY)


def test_a_task_without_options_is_told() -> None:
    outcome = run_search(Choose(), digits, FewShot(), exact_match, problems=[Problem("p", "1+1", 2)])
    assert "search=choose: FewShot gives no options: take task=choices" in (outcome.done.error or "")


def test_the_shipped_model_chooses_well_and_decodes_nothing() -> None:
    task, model = Choices(limit=20), treereason.load("embedded")
    run = treereason.run(task, Choose(), model, baseline="none")
    assert sum(problem.solved for problem in run.problems) >= 18
    assert run.summary["tokens_decoded"] == 0
    by_token = treereason.run(task, Choose("token"), model, baseline="none")
    assert [problem.solved for problem in by_token.problems].count(True) >= 15
    sampled = treereason.run(task, SelfConsistency(n=3), model, baseline="none")
    assert sum(problem.solved for problem in sampled.problems) >= 15
