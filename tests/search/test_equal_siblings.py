"""Thoughts with equal texts count as often as they were drawn, also in searches that never call keep."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes import NumberTask, run_search
from treereason import events
from treereason.core import Sampling, ThoughtPath
from treereason.search import ETS, ParticleFiltering, Rebase, SelfConsistency

VOTING: list[Any] = [
    SelfConsistency(n=5),
    SelfConsistency(n=5, vote="weighted"),
    Rebase(width=5),
    ETS(width=5),
    ParticleFiltering(n=5, answer="vote"),
]


def name(search: Any) -> str:
    return f"{type(search).__name__} {getattr(search, 'vote', '')}".strip()


@pytest.mark.parametrize("search", VOTING, ids=name)
def test_equal_answers_vote_as_often_as_they_were_drawn(search: Any) -> None:
    """Three times 3 is more than 4 and 4, by number as by the sum of scores."""
    outcome = run_search(search, lambda path: "44333"[path[0]])
    assert outcome.done.answer == 3


@pytest.mark.parametrize("search", VOTING, ids=name)
def test_what_greedy_sampling_would_repeat_is_decoded_once_and_counts_for_all(search: Any) -> None:
    outcome = run_search(search, lambda _: "4", NumberTask(steps=2), sampling=Sampling(0.0))
    made = [event.thought for event in outcome.of(events.ThoughtCreated)]
    assert made == [(0,), (0, 0)]
    assert outcome.done.answer == 4


def test_equal_leaves_of_ets_share_their_kv_and_their_answers_count_for_both() -> None:
    """Both 20s go on as one thought with one child, whose answer 5 counts twice: 10 against two 4s below the 22."""

    def script(path: ThoughtPath) -> str:
        return ("20", "20", "22")[path[0]] if len(path) == 1 else "5" if path[0] < 2 else "4"

    search = ETS(width=3, balance=1e9, lambda_b=0.0)
    outcome = run_search(search, script, NumberTask(steps=2))
    assert (1,) in outcome.engine.dropped
    assert {each.parent: len(each.children) for each in outcome.engine.expansions} == {(): 3, (0,): 1, (2,): 2}
    assert outcome.done.answer == 5
