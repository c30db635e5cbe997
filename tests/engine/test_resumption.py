"""A thought that ended at its limit goes on in place: as if it had never been cut, wherever its KV is by then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.engine.driving import HOT, Build, answer, finish, make_engine, prompt_of
from tests.lanes import slow
from treereason.core import Cost, Decoded, Expansion, Finish, Prompt, Request, Resumption, Sampling
from treereason.engine.engine import Engine

PATHS = ((0,), (1,), (2,))


def nothing(_engine: Engine) -> None:
    """The thoughts' KV lies where they left it."""


def drop(engine: Engine) -> None:
    for path in PATHS:
        engine.drop("a", path)
    assert engine.forest.num_tokens == 0


def evict(engine: Engine) -> None:
    for node in engine.forest.nodes():
        engine.forest.evict(node)


def expand(engine: Engine) -> None:
    """Children need the thoughts' nodes as they are."""
    for path in PATHS:
        engine.submit(Expansion("a", path, prompt_of(" AND", 3, appended=True), ((*path, 0),), HOT))


def expand_and_drop(engine: Engine) -> None:
    expand(engine)
    for path in PATHS:
        engine.drop("a", path)


def in_parts(engine: Engine, prompt: Prompt, sampling: Sampling, between: Callable[[Engine], None]) -> list[Decoded]:
    """Three children, decoded five tokens at a time. The last answer of each, with the costs of all."""
    found = answer(engine, Expansion("a", (), replace(prompt, max_tokens=5), PATHS, sampling))
    costs = {path: Cost() for path in PATHS}
    for path in PATHS:
        costs[path].add(found["a", path].cost)
    for count in (5, 5, prompt.max_tokens - 15):
        between(engine)
        going_on = [path for path in PATHS if found["a", path].finish is Finish.LENGTH]
        requests = [Resumption("a", path, replace(prompt, max_tokens=count), sampling) for path in going_on]
        found |= answer(engine, *requests)
        for path in going_on:
            costs[path].add(found["a", path].cost)
    return [replace(found["a", path], cost=costs[path]) for path in PATHS]


@pytest.mark.parametrize(
    ("kind", "between"),
    [
        ("mistral", nothing),
        ("llama", drop),
        ("mistral", evict),
        ("llama", expand),
        ("mistral", expand_and_drop),
        *slow(("llama", nothing), ("mistral", drop), ("llama", evict), ("mistral", expand), ("llama", expand_and_drop)),
    ],
)
def test_pieces_are_the_thought_that_one_decoding_gives(
    kind: str, between: Callable[[Engine], None], tiny_model: Build
) -> None:
    model, _ = tiny_model(kind)
    prompt = prompt_of("ONCE UPON A TIME ", 37)
    whole = answer(make_engine(model), Expansion("a", (), prompt, PATHS, HOT))
    parts = in_parts(make_engine(model), prompt, HOT, between)
    for got, path in zip(parts, PATHS, strict=True):
        want = whole["a", path]
        assert (got.text, got.finish, got.stop, got.error) == (want.text, want.finish, want.stop, None)
        assert got.logprob == pytest.approx(want.logprob, abs=1e-4)
        assert got.cost.tokens_decoded == want.cost.tokens_decoded == 37


@pytest.mark.parametrize("cut", [*range(4, 10), *slow(1, 2, 3, 10, 11)])
def test_a_stop_string_that_began_before_the_cut_is_found(cut: int, tiny_model: Build) -> None:
    model, _ = tiny_model("llama")
    text = answer(make_engine(model), Expansion("a", (), prompt_of("HELLO ", 30), ((0,),), HOT))["a", (0,)].text
    stop = text[5:9]
    prompt = prompt_of("HELLO ", 30, stop=(stop,))
    want = answer(make_engine(model), Expansion("a", (), prompt, ((0,),), HOT))["a", (0,)]
    assert (want.finish, want.stop) == (Finish.STOP, stop)
    engine = make_engine(model)
    answer(engine, Expansion("a", (), replace(prompt, max_tokens=cut), ((0,),), HOT))
    got = answer(engine, Resumption("a", (0,), replace(prompt, max_tokens=30 - cut), HOT))["a", (0,)]
    assert (got.text, got.finish, got.stop) == (want.text, want.finish, want.stop)


def test_a_thought_says_why_it_ended(tiny_model: Build) -> None:
    model, _ = tiny_model("llama")
    text = answer(make_engine(model), Expansion("a", (), prompt_of("HELLO ", 20), ((0,),), HOT))["a", (0,)].text
    engine = make_engine(model)
    length = answer(engine, Expansion("a", (), prompt_of("HELLO ", 9), ((0,),), HOT))["a", (0,)]
    assert (length.finish, length.stop) == (Finish.LENGTH, "")
    stopping = prompt_of("HELLO ", 20, stop=("~~", text[6:9]))
    stopped = answer(make_engine(model), Expansion("a", (), stopping, ((0,),), HOT))["a", (0,)]
    assert (stopped.finish, stopped.text, stopped.stop) == (Finish.STOP, text[:6], text[6:9])
    model.eos_ids = frozenset(range(64))
    ended = answer(engine, Expansion("b", (), Prompt("HELLO ", max_tokens=9), ((0,),), HOT))["b", (0,)]
    assert (ended.finish, ended.text) == (Finish.END, "")
    model.eos_ids = frozenset()
    engine.submit(Expansion("failed", (), prompt_of("HELLO ", 9), ((0,),), HOT))
    engine.step()
    engine.stop("failed", "time is up")
    assert finish(engine)["failed", (0,)].finish is None


def test_the_cost_of_a_resumption_is_its_own(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0])
    answer(engine, Expansion("a", (), prompt_of("0123456789", 5), ((0,),), HOT))
    kept = answer(engine, Resumption("a", (0,), prompt_of("0123456789", 6), HOT))["a", (0,)].cost
    # The last token of a piece is only computed when something follows.
    assert (kept.tokens_decoded, kept.tokens_prefilled, kept.tokens_reused) == (6, 1, 10 + 4)
    engine.drop("a", (0,))
    dropped = answer(engine, Resumption("a", (0,), prompt_of("0123456789", 7), HOT))["a", (0,)].cost
    assert (dropped.tokens_decoded, dropped.tokens_prefilled, dropped.tokens_reused) == (7, 10 + 11, 0)


def test_a_resumed_thought_grows_in_its_node(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0])
    answer(engine, Expansion("a", (), prompt_of("0123456789", 2), ((0,),), HOT))
    for _ in range(10):
        answer(engine, Resumption("a", (0,), prompt_of("0123456789", 2), HOT))
    assert len(list(engine.forest.nodes())) == 2


@pytest.mark.parametrize("resumed_first", [False, True])
def test_children_of_a_thought_that_is_resumed_go_on_from_where_they_were(
    resumed_first: bool, tiny_model: Build
) -> None:
    model, _ = tiny_model("llama")
    child = Expansion("a", (0,), prompt_of(" AND", 9, appended=True), ((0, 0),), HOT)
    first = Expansion("a", (), prompt_of("HELLO ", 6), ((0,),), HOT)
    engine = make_engine(model)
    answer(engine, first)
    want = answer(engine, child)["a", (0, 0)]
    engine = make_engine(model)
    answer(engine, first)
    requests: list[Request] = [child, Resumption("a", (0,), prompt_of("HELLO ", 6), HOT)]
    found = answer(engine, *(requests[::-1] if resumed_first else requests))
    if resumed_first:
        assert found["a", (0, 0)].error == "thought 0 has no text to go on from: it failed, or is not decoded yet"
    else:
        assert found["a", (0, 0)].text == want.text
    assert len(found["a", (0,)].text) == 12


def test_a_thought_at_the_models_last_position_comes_back_as_it_is(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0])
    whole = answer(engine, Expansion("a", (), prompt_of("X" * 250, 20), ((0,),), HOT))["a", (0,)]
    assert (len(whole.text), whole.finish) == (6, Finish.LENGTH)
    again = answer(engine, Resumption("a", (0,), prompt_of("", 20), HOT))["a", (0,)]
    assert again == replace(whole, cost=Cost(), token_ids=())  # it has sampled none


def test_a_thought_that_the_engine_does_not_know_is_refused_with_a_line(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0])
    found = answer(engine, Resumption("a", (4, 2), prompt_of("HELLO "), HOT))
    assert found["a", (4, 2)].error == "thought 4.2 has no text to go on from: it failed, or is not decoded yet"


def test_a_resumption_that_is_stopped_keeps_its_text_and_returns_its_kv(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0])
    text = answer(engine, Expansion("a", (), prompt_of("HELLO "), ((0,),), HOT))["a", (0,)].text
    engine.submit(Resumption("a", (0,), prompt_of("HELLO "), HOT))
    engine.stop("a", "time is up")
    stopped = finish(engine)["a", (0,)]
    assert (stopped.text, stopped.error) == (text, "time is up")
    engine.submit(Resumption("a", (0,), prompt_of("HELLO "), HOT))
    engine.end_problem("a")
    assert engine.forest.num_tokens == 0
    assert not engine.busy or finish(engine) == {}
