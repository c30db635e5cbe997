"""A dropped thought gives its KV back at once, and can still be continued until its problem ends."""

from __future__ import annotations

import pytest

from tests.engine.driving import HOT, Build, answer, make_engine, prompt_of
from treereason.core import Expansion, Writing
from treereason.engine.engine import Engine


def grow(engine: Engine) -> None:
    answer(engine, Expansion("a", (), prompt_of("A PROMPT OF SOME TOKENS ", 20), ((0,), (1,)), HOT))


def continued(text: str = "") -> Expansion:
    return Expansion("a", (0,), prompt_of(text, appended=True), ((0, 0), (0, 1)), HOT)


@pytest.mark.parametrize("text", ["", " SO "])
def test_a_dropped_thought_is_continued_as_if_it_had_never_been_dropped(text: str, tiny_model: Build) -> None:
    model, _ = tiny_model("llama")
    engine = make_engine(model)
    grow(engine)
    want = answer(engine, continued(text))
    engine = make_engine(model)
    grow(engine)
    for path in ((0,), (1,)):
        engine.drop("a", path)
    assert engine.forest.num_tokens == 0
    got = answer(engine, continued(text))
    assert {key: (d.text, d.error) for key, d in got.items()} == {key: (d.text, d.error) for key, d in want.items()}
    assert got["a", (0, 0)].cost.tokens_prefilled == 24 + 20 + len(text)


def test_what_others_still_need_is_found_again(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0])
    grow(engine)
    engine.drop("a", (0,))
    cost = answer(engine, continued())["a", (0, 0)].cost
    assert (cost.tokens_prefilled, cost.tokens_reused) == (20, 24)  # the prompt, which the other child continues


def test_dropping_twice_or_what_never_was_is_no_error(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0])
    grow(engine)
    for _ in range(2):
        for path in ((), (0,), (7, 7)):
            engine.drop("a", path)
    engine.drop("another problem", ())
    assert answer(engine, continued())["a", (0, 0)].error is None


def test_the_end_of_a_problem_forgets_its_token_ids(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0])
    grow(engine)
    answer(engine, Writing("a", (0,), prompt_of("?", appended=True), ((0, 5),), ("YES",)))
    for path in ((0,), (0, 5)):
        engine.drop("a", path)
    engine.end_problem("a")
    assert not list(engine._thoughts)
    error = answer(engine, continued())["a", (0, 0)].error
    assert error == "thought 0 has no text to go on from: it failed, or is not decoded yet"


def test_a_child_that_is_asked_for_twice_leaks_nothing(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0])
    for _ in range(2):
        grow(engine)
    engine.end_problem("a")
    assert engine.forest.num_tokens == 0


def test_a_failed_assertion_shows_nodes_and_branches_in_a_line_each(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0])
    grow(engine)
    thought = engine._thoughts.get("a", (0,))
    assert repr(thought.branch) == "<Branch a:0, 20 tokens, length>"
    assert repr(thought.node) == "<Node of problem 'a': 19 tokens from 24 on, 19 stored, 0 children>"
    assert len(repr(thought)) < 300
    engine.forest.num_tokens += 1
    with pytest.raises(AssertionError) as raised:
        engine.forest.check()
    assert len(str(raised.value)) < 300
