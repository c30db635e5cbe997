"""No use of the engine, and no policy of it, changes an answer: `EngineMachine` uses it at random."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

import pytest

from tests.engine.engine_machine import EngineMachine, run_machine
from tests.engine.hash_model import VOCABULARY, HashGraphStep
from tests.lanes import slow
from treereason.engine.kv import step_memory
from treereason.engine.kv.forest import Node
from treereason.engine.schedule.branch import Branch
from treereason.engine.schedule.draft import Draft
from treereason.engine.speculation.drafter import Drafter
from treereason.engine.speculation.sibling_drafts import SiblingDrafts
from treereason.engine.steps import graph_steps

KINDS = {
    "done", "written", "resumed", "continued after a drop", "rebuilt", "refused", "too large", "stopped", "NaN",
}  # fmt: skip


class AnyDrafts:
    """Proposes chains and trees, in which every token is right by chance, and often more than a branch can take."""

    def __init__(self, machine: EngineMachine) -> None:
        self._machine = machine
        self._chance = random.Random(0)

    def propose(self, branches: Sequence[Branch]) -> list[Draft]:
        return [self._propose(branch) for branch in branches]

    def forget(self, problem: str) -> None:
        pass

    def _propose(self, branch: Branch) -> Draft:
        known = branch.node.token_ids()
        truth = [*self._machine.asked[branch.problem, branch.path].answer.tokens, *[0] * 90][len(known) :]
        chance, draft = self._chance, Draft()
        taken: set[tuple[int, int]] = set()
        for _ in range(chance.choice([0, 1, 3, 8, 40])):
            parent = chance.choice(
                [len(draft.tokens) - 1, len(draft.tokens) - 1, chance.randrange(-1, len(draft.tokens))]
            )
            depth = draft.depths()[parent] + 1 if parent >= 0 else 0
            token = truth[depth] if chance.random() < 0.8 else chance.randrange(VOCABULARY)
            if (parent, token) not in taken:
                taken.add((parent, token))
                draft.tokens.append(token)
                draft.parents.append(parent)
                draft.levels.append(depth)
        return draft


def test_engine_scheduler_forest_and_pool_hold_under_random_use() -> None:
    tally = run_machine(examples=9, steps=50)
    assert set(tally.kinds) >= KINDS


@pytest.mark.parametrize("examples", [6, *slow(250)])
def test_steps_from_graphs_hold_under_random_use(examples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_steps, "GraphStep", HashGraphStep)
    tally = run_machine(examples=examples, steps=50, from_graphs=True)
    assert set(tally.kinds) >= {*KINDS, "graph", "prefill", "ahead"}
    assert tally.kinds["graph"] > 200
    assert tally.plans < tally.kinds["graph"] / 2, "plans are made where the last one could go on"


@pytest.mark.parametrize("examples", [4, *slow(150)])
def test_answers_under_random_span_policies_are_those_of_one_thought_alone(examples: int) -> None:
    tally = run_machine(examples=examples, steps=50, has_spans=True)
    assert set(tally.kinds) >= {"done", "written", "rebuilt"}


@pytest.mark.parametrize("examples", [4, *slow(150)])
def test_steps_from_graphs_hold_under_random_span_policies(examples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_steps, "GraphStep", HashGraphStep)
    tally = run_machine(examples=examples, steps=50, from_graphs=True, has_spans=True)
    assert set(tally.kinds) >= {"done", "graph", "prefill"}
    assert tally.plans < tally.kinds["graph"], "some views last longer than a token"


@pytest.mark.parametrize("examples", [4, *slow(120)])
def test_no_order_of_eviction_changes_an_answer(examples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(0)

    def any_order(nodes: Iterable[Node], running: Sequence[Node]) -> list[Node]:  # noqa: ARG001
        order = list(nodes)
        chance.shuffle(order)
        return order

    monkeypatch.setattr(step_memory, "eviction_order", any_order)
    tally = run_machine(examples=examples, steps=50)
    assert set(tally.kinds) >= {"done", "rebuilt"}


@pytest.mark.parametrize("examples", [7, *slow(500)])
@pytest.mark.parametrize("drafter", [AnyDrafts, lambda _: SiblingDrafts(4)], ids=["any", "siblings"])
def test_no_proposal_changes_an_answer(examples: int, drafter: Callable[[EngineMachine], Drafter]) -> None:
    tally = run_machine(examples=examples, steps=50, drafter=drafter)
    assert set(tally.kinds) >= {"done", "written", "resumed", "rebuilt", "stopped"}
    assert tally.kinds["right"] > examples


@pytest.mark.parametrize("examples", [5, *slow(100)])
def test_no_proposal_in_a_graph_changes_an_answer(examples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_steps, "GraphStep", HashGraphStep)
    tally = run_machine(examples=examples, steps=50, from_graphs=True, drafter=AnyDrafts)
    assert set(tally.kinds) >= {"done", "graph", "right"}


@pytest.mark.slow
def test_engine_scheduler_forest_and_pool_hold_for_100_000_steps() -> None:
    """Steps are rules of the machine that Hypothesis carried out, counted; engine steps come on top of them."""
    tally = run_machine(examples=2_600, steps=50)
    print(f"{tally.rules:,} rules, {tally.steps:,} engine steps, {tally.kinds}")  # noqa: T201
    assert tally.rules >= 100_000
    assert tally.steps >= 100_000
