"""A search whose budget is spent ends, and may do what costs nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.controller.driving import run
from treereason.controller.budget import Budget
from treereason.core import (
    Thought,
    Tree,
)


def test_a_search_that_asks_on_when_its_budget_is_spent_ends_with_the_best_so_far() -> None:
    async def search(tree: Tree) -> Thought | None:
        asked = 0
        while True:
            thoughts = await tree.expand([tree.root], 2, tokens=1)
            await tree.score(thoughts)
            asked += 1
            assert asked < 50, "the search spins"

    outcome = run(search, budget=lambda: Budget(7))
    assert (outcome.done.status, outcome.done.best) == ("done", (6,))
    assert outcome.done.tokens_decoded == 7


@pytest.mark.parametrize("tokens", [3, 50])
@pytest.mark.parametrize("by", [None, lambda thought: float(thought.text)])
def test_a_search_that_asks_for_nothing_new_ends_under_a_budget(tokens: int, by: Any) -> None:
    async def search(tree: Tree) -> Thought | None:
        thoughts = await tree.expand([tree.root], 2, tokens=1)
        await tree.score(thoughts)
        for _ in range(100_000):
            await tree.score(thoughts, by=by)
            await tree.expand([], 1)
        raise AssertionError("the search spins")

    outcome = run(search, budget=lambda: Budget(tokens))
    assert (outcome.done.status, outcome.done.best) == ("done", (1,))


def test_a_search_may_score_its_thoughts_one_by_one_when_its_budget_is_spent() -> None:
    async def search(tree: Tree) -> Thought | None:
        thoughts = await tree.expand([tree.root], 1_500, tokens=1)
        for thought in thoughts:
            await tree.score([thought], by=lambda thought: float(thought.path[-1]))
        return thoughts[-1]

    assert run(search, lambda _: "3", budget=lambda: Budget(1_500)).done.best == (1_499,)


def test_a_search_may_still_vote_when_its_budget_is_spent() -> None:
    async def search(tree: Tree) -> Thought | None:
        first = await tree.expand([tree.root], 2, tokens=1)
        assert await tree.expand([tree.root], 2, tokens=1) == []
        return first[0]

    assert run(search, budget=lambda: Budget(2)).done.best == (0,)


def test_a_search_that_never_asks_for_anything_lets_the_run_be_stopped() -> None:
    turns = iter(range(10_000))

    async def search(tree: Tree) -> Thought | None:
        while next(turns) < 5_000:
            await tree.score([])
        return None

    others = run(search)
    assert others.done.error == "no thought holds an answer: none was made"


def test_two_coroutines_that_get_nothing_in_one_round_are_told_once() -> None:
    async def search(tree: Tree) -> Thought | None:
        first = await tree.expand([tree.root], tokens=1)
        assert await tree.gather(tree.expand([tree.root]), tree.expand([tree.root])) == [[], []]
        return first[0]

    assert run(search, budget=lambda: Budget(1)).done.status == "done"


def test_resume_keeps_to_the_budget() -> None:
    async def search(tree: Tree) -> Thought | None:
        [thought] = await tree.expand([tree.root], tokens=2)
        assert tree.tokens_left == 1
        await tree.resume([thought], 5)
        assert (thought.text, tree.tokens_left) == ("123", 0)
        return thought

    assert run(search, lambda _: "12345", budget=lambda: Budget(3)).done.tokens_decoded == 3
