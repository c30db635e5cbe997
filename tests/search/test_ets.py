"""Efficient tree search: which leaves go on, by scores, KV and coverage."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations
from random import Random
from typing import Any

import pytest

from tests.fakes import NumberTask, run_search
from tests.search import independent
from treereason import events
from treereason.core import Problem, Thought, UserError
from treereason.remote.engine import RemoteEngine
from treereason.search import ETS, Rebase
from treereason.search.leaf_choice import best_leaves

SEEDS = range(6)
STEPS = 3


def run(search: Any, seed: int, steps: int = STEPS) -> Any:
    value = independent.values(seed)
    return run_search(search, lambda path: str(int(value(path))), NumberTask(steps=steps))


def expanded(outcome: Any) -> list[tuple[Any, int]]:
    return [(each.parent, len(each.children)) for each in outcome.engine.expansions]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("lambda_b", "lambda_d"), [(1.0, 1.0), (1.5, 0.5), (0.0, 0.0), (2.0, 0.0)])
def test_the_leaves_of_the_highest_objective_go_on(seed: int, lambda_b: float, lambda_d: float) -> None:
    tree, whole = independent.ets(independent.values(seed), STEPS, 7, 3_000.0, lambda_b, lambda_d, tokens=4)
    outcome = run(ETS(width=7, balance=3_000.0, lambda_b=lambda_b, lambda_d=lambda_d, answer="best"), seed)
    assert sorted(expanded(outcome)) == sorted(tree.expanded)
    assert outcome.done.best == independent.best(whole, independent.values(seed))


def test_what_does_not_go_on_gives_its_kv_back() -> None:
    outcome = run(ETS(width=6, balance=3_000.0, lambda_b=2.0, lambda_d=0.0), 0, steps=2)
    going = {each.parent for each in outcome.engine.expansions if each.parent}
    assert 0 < len(going) < 6
    assert {(rank,) for rank in range(6)} - going <= set(outcome.engine.dropped)


@pytest.mark.parametrize("seed", SEEDS)
def test_without_a_price_and_without_equals_it_is_rebase(seed: int) -> None:
    free = run(ETS(width=8, balance=3_000.0, lambda_b=0.0), seed)
    assert sorted(expanded(free)) == sorted(expanded(run(Rebase(width=8, balance=3_000.0), seed)))


def grown(rng: Random) -> list[Thought]:
    """The leaves of a random tree."""
    nodes = [Thought(Problem("p", 9))]
    for rank in range(rng.randrange(4, 16)):
        above = rng.choice(nodes)
        nodes.append(Thought(above.problem, (*above.path, rank), (above,), text="x" * rng.randrange(1, 30)))
    parents = {node.parent for node in nodes}
    return [node for node in nodes if node not in parents]


@pytest.mark.parametrize("price", [0.0, 0.7, 1.0, 3.0])
def test_the_choice_of_leaves_is_as_good_as_the_best_of_all_sets(price: float) -> None:
    for seed in range(60):
        rng = Random(seed)
        leaves = grown(rng)
        worth = {leaf: rng.random() * 2 / len(leaves) for leaf in leaves}

        def held(some: Sequence[Thought]) -> int:
            return sum(len(node.text) for node in {node for leaf in some for node in leaf.ancestors()})

        def objective(some: Sequence[Thought], worth: Any = worth, leaves: Any = leaves) -> float:
            return float(sum(worth[leaf] for leaf in some) - price * held(some) / held(leaves))

        sets = chain.from_iterable(combinations(leaves, size + 1) for size in range(len(leaves)))
        chosen = best_leaves(worth, held, price)
        assert len(chosen) == len(set(chosen)) > 0
        assert objective(chosen) == pytest.approx(max(map(objective, sets)))


def test_no_leaves_no_choice() -> None:
    assert best_leaves({}, lambda _: 0, 1.0) == []


def test_a_text_that_two_leaves_have_is_covered_once() -> None:
    """Below different thoughts "5" is one cluster: the second costs its KV and adds no coverage."""
    texts = {(0,): "1000", (1,): "1000", (0, 0): "5000", (0, 1): "5000", (1, 0): "5000", (1, 1): "4999"}
    outcome = run_search(
        ETS(width=2, balance=1e9, lambda_b=0.5, lambda_d=4.0),
        lambda path: texts.get(path[:2], "1"),
        NumberTask(steps=3),
    )
    kept = {event.thought for event in outcome.of(events.ThoughtKept)}
    assert (0, 0) in kept
    assert (0, 1) not in kept, "equal siblings are one thought"


def test_a_server_that_shows_no_kv_is_named_in_one_line() -> None:
    with pytest.raises(UserError, match="a server does not show how much KV thoughts hold"):
        RemoteEngine.kv_tokens(None, "p", [(0,)])  # type: ignore[arg-type]
