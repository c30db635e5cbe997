"""Speculative decoding changes how many steps a run takes, and nothing that comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from tests.engine.driving import HOT, Build, Found, answer, finish, make_engine, prompt_of
from tests.fakes import compiles
from tests.lanes import slow
from treereason.core import Expansion, Prompt, Sampling
from treereason.engine.engine import Engine
from treereason.engine.model.load import load_model
from treereason.engine.schedule.branch import Branch
from treereason.engine.schedule.draft import Draft
from treereason.engine.speculation.model_drafts import ModelDrafts
from treereason.engine.speculation.row_budget import RowBudget
from treereason.engine.speculation.sibling_drafts import SiblingDrafts

Drafts = Callable[[Branch], Draft]


class Proposing:
    """Proposes what a function says; counts what it was asked."""

    def __init__(self, drafts: Drafts) -> None:
        self._drafts = drafts
        self.num_asked = 0

    def propose(self, branches: Sequence[Branch]) -> list[Draft]:
        self.num_asked += len(branches)
        return [self._drafts(branch) for branch in branches]

    def forget(self, problem: str) -> None:
        pass


def known_drafts(tokens_of: dict[Any, list[int]], fork: bool = False) -> Drafts:
    """What a branch will say, as an oracle knows it; with wrong tokens beside the right ones where drafts fork."""

    def drafts(branch: Branch) -> Draft:
        rest = tokens_of[branch.problem, branch.path][len(branch.tokens) :][:6]
        if not fork:
            return Draft.chain(rest)
        draft = Draft()
        parent = -1
        for token in rest:
            for other in (token ^ 1, token):
                draft.tokens.append(other)
                draft.parents.append(parent)
                draft.levels.append(0)
            parent = len(draft.tokens) - 1
        return draft

    return drafts


def grow(engine: Engine) -> tuple[Found, dict[Any, list[int]], int]:
    """Two generations on one prompt, some of it pruned; all that came back, the tokens of each, and the steps."""
    tokens_of: dict[Any, list[int]] = {}
    found: Found = {}
    before = engine._num_steps
    engine.submit(Expansion("p", (), prompt_of("THE HEAD OF A TREE", 30), ((0,), (1,), (2,)), HOT))
    found |= finish(engine)
    engine.drop("p", (1,))
    engine.submit(Expansion("p", (0,), prompt_of("", 25, appended=True), ((0, 0), (0, 1)), Sampling(0.0)))
    found |= finish(engine)
    for thought in engine._thoughts:
        tokens_of[thought.branch.problem, thought.branch.path] = thought.branch.tokens
    return found, tokens_of, engine._num_steps - before


def told(found: Found) -> dict[Any, Any]:
    """All of an answer but the seconds it took."""
    return {
        key: (child.text, child.finish, child.num_tokens, child.cost.kv_token_steps, child.cost.tokens_decoded)
        for key, child in found.items()
    }


@pytest.mark.parametrize(
    ("options", "fork"),
    [
        ({}, True),
        ({"max_branches": 1}, False),
        ({"kv_tokens": 160}, True),
        ({"prefill_tokens": 3}, False),
        *slow(({}, False), ({"max_branches": 1}, True), ({"kv_tokens": 160}, False), ({"prefill_tokens": 3}, True)),
    ],
)
def test_right_drafts_save_steps_and_change_nothing(options: dict[str, Any], fork: bool, tiny_model: Build) -> None:
    model, _ = tiny_model("llama")
    found, tokens_of, steps = grow(make_engine(model, **options))
    drafter = Proposing(known_drafts(tokens_of, fork))
    engine = make_engine(model, drafter=drafter, **options)
    again, tokens_again, steps_again = grow(engine)
    assert told(again) == told(found)
    assert tokens_again == tokens_of
    for key, child in found.items():
        assert again[key].logprob == pytest.approx(child.logprob, abs=1e-4)
    assert steps_again < steps or (fork and options)  # a fork wants pages of its own
    assert engine.speculation is not None
    assert engine.speculation.figures.tokens > 10 or "kv_tokens" in options
    assert engine.end_problem("p") <= engine.forest.pool.num_pages * 16


def test_what_is_wrong_gives_its_pages_back_at_once(tiny_model: Build) -> None:
    model, _ = tiny_model("llama")
    engine = make_engine(model, drafter=Proposing(lambda branch: Draft.chain([branch.node.tokens[-1] ^ 1] * 40)))
    engine.submit(Expansion("p", (), prompt_of("A PROMPT", 20), ((0,), (1,)), HOT))
    while engine.busy:
        engine.step()
        engine.forest.check()
        for node in engine.forest.nodes():
            assert len(node.pages) == -(-node.num_cached // 16)


def test_the_problem_is_stopped_between_two_drafts(tiny_model: Build) -> None:
    model, _ = tiny_model("llama")
    engine = make_engine(model, drafter=SiblingDrafts(4))
    engine.submit(Expansion("p", (), prompt_of("AB" * 20, 40), ((0,), (1,)), Sampling(0.0)))
    for _ in range(6):
        engine.step()
    engine.stop("p", "time is up")
    found = finish(engine)
    assert {child.error for child in found.values()} == {"time is up"}
    engine.end_problem("p")
    assert not list(engine.forest.nodes())


@pytest.mark.parametrize("stop", [(), ("E",), ("T", "AN")])
def test_a_stop_string_inside_a_run_of_right_tokens_ends_the_text_there(
    stop: tuple[str, ...], tiny_model: Build
) -> None:
    model, _ = tiny_model("llama")
    request = Expansion("p", (), Prompt("SOME TEXT ", max_tokens=40, stop=stop), ((0,), (1,), (2,)), HOT)
    plain_engine = make_engine(model)
    plain = answer(plain_engine, request)
    tokens_of = {(t.branch.problem, t.branch.path): t.branch.tokens + [1] * 9 for t in plain_engine._thoughts}
    drafted = answer(make_engine(model, drafter=Proposing(known_drafts(tokens_of))), request)
    assert told(drafted) == told(plain)


def test_statistics_are_of_the_tokens_that_were_taken(tiny_model: Build) -> None:
    model, _ = tiny_model("llama")
    found, tokens_of, _ = grow(make_engine(model, token_statistics=True))
    again, _, _ = grow(make_engine(model, token_statistics=True, drafter=Proposing(known_drafts(tokens_of, fork=True))))
    for key, child in found.items():
        mine, theirs = again[key].token_statistics, child.token_statistics
        assert mine is not None
        assert theirs is not None
        assert len(mine.entropy) == len(theirs.entropy) == child.num_tokens
        assert mine.entropy == pytest.approx(theirs.entropy, abs=1e-4)


def test_deterministic_steps_are_bits_the_same_with_drafts(tiny_model: Build) -> None:
    model, _ = tiny_model("llama")
    options = {"deterministic": True, "max_branches": 4, "prefill_tokens": 20}
    found, tokens_of, _ = grow(make_engine(model, **options))
    again, _, _ = grow(make_engine(model, drafter=Proposing(known_drafts(tokens_of)), **options))
    assert {key: child.logprob for key, child in again.items()} == {key: child.logprob for key, child in found.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_compiled_kernels_give_the_same_bits_with_drafts(dtype: torch.dtype, temperature: float) -> None:
    if not compiles():
        pytest.skip("no compiler here")
    model = load_model("embedded", style="embedded", dtype="bfloat16" if dtype == torch.bfloat16 else "float32")
    assert model.same_bits
    request = Expansion(
        "p",
        (),
        Prompt("3+4*2\n=3+8\n=11\n5+6*2\n", max_tokens=30, ignore_end=True),
        ((0,), (1,), (2,)),
        Sampling(temperature),
    )
    sides = [answer(make_engine(model, drafter=drafter), request) for drafter in (None, SiblingDrafts(5))]
    plain, drafted = ({key: (child.text, child.logprob) for key, child in side.items()} for side in sides)
    assert drafted == plain


def test_a_draft_model_that_is_the_model_is_always_right_and_leaves_nothing_behind(tiny_model: Build) -> None:
    model, _ = tiny_model("llama")
    found, _, steps = grow(make_engine(model))
    drafter = ModelDrafts(model, depth=4, kv_tokens=1024, page_size=16)
    engine = make_engine(model, drafter=drafter)
    again, _, steps_again = grow(engine)
    assert told(again) == told(found)
    assert engine.speculation is not None
    figures = engine.speculation.figures
    assert figures.tokens == figures.rows
    assert steps_again < steps / 3
    engine.end_problem("p")
    drafter.forest.check()
    assert not list(drafter.forest.nodes())


def test_a_draft_model_with_little_memory_proposes_less(tiny_model: Build) -> None:
    model, _ = tiny_model("llama")
    found, _, _ = grow(make_engine(model))
    drafter = ModelDrafts(model, depth=4, kv_tokens=64, page_size=16)
    engine = make_engine(model, drafter=drafter)
    again, _, _ = grow(engine)
    assert told(again) == told(found)
    engine.end_problem("p")
    assert not list(drafter.forest.nodes())


def drafted_steps(num_steps: int, right: float, tokens: int, drafted_ms: float) -> int:
    """How many of the steps of four branches have drafts, where a plain one takes a millisecond."""
    budget, count = RowBudget(), 0
    for step in range(num_steps):
        kind = budget.next(4)
        if kind == "look":
            budget.lookout.note(step % 10 < 10 * right)
        drafts = kind == "draft"
        count += drafts
        budget.measure(8 if drafts else 4, 4, tokens if drafts else 4, drafted_ms if drafts else 1.0)
    return count


def test_a_budget_stops_drafting_where_it_costs_more_than_it_brings() -> None:
    assert 0 < drafted_steps(1000, right=0.5, tokens=5, drafted_ms=2.0) < 30


def test_drafts_that_lose_are_tried_in_a_hundredth_of_the_time() -> None:
    lost_ms = 9.0 - 5 / 4
    assert 0 < drafted_steps(1000, right=0.5, tokens=5, drafted_ms=9.0) * lost_ms < 0.01 * 1000 + 2 * lost_ms


def test_a_budget_goes_on_drafting_where_it_pays() -> None:
    assert drafted_steps(1000, right=0.5, tokens=7, drafted_ms=1.1) > 900


def test_a_budget_computes_no_draft_where_those_that_it_looks_at_are_wrong() -> None:
    assert drafted_steps(1000, right=0.0, tokens=4, drafted_ms=1.0) == 0


@pytest.mark.parametrize("spent_ms", [0.1, 1.0])
def test_looks_take_no_more_than_their_share_of_the_time(spent_ms: float) -> None:
    budget, found = RowBudget(), 0
    for _ in range(500):
        if budget.next(4) == "look":
            found += 1
            budget.lookout.looked(2, spent_ms)
        budget.measure(4, 4, 4, 1.0)
    assert 0 < found * spent_ms < 0.01 * 500 + spent_ms


def test_a_budget_takes_rows_as_long_as_they_pay() -> None:
    budget = RowBudget()
    assert budget.next(1) != "draft"
    budget.lookout.has_seen = True
    for rows, ms in ((1, 10.0), (1, 10.0), (2, 10.0), (4, 10.0), (8, 10.0), (16, 40.0)):
        budget.next(rows)
        budget.measure(rows, rows, rows, ms)
    assert budget.choose(1, 1, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]) == 7
    assert budget.choose(4, 4, [0.5] * 20) == 4
