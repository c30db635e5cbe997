"""What thoughts hold of the KV together: whole pages, and what they share once."""

from __future__ import annotations

from tests.engine.driving import HOT, Build, answer, make_engine, prompt_of
from treereason.core import Expansion
from treereason.engine.engine import PAGE_SIZE, Engine

TEXT = "A PROMPT OF SOME TOKENS "
PROMPT_PAGES, CHILD_PAGES = 2, 2  # of 24 and 20 tokens


def grow(engine: Engine, problem: str = "a") -> None:
    answer(engine, Expansion(problem, (), prompt_of(TEXT, 20), ((0,), (1,)), HOT))


def test_what_thoughts_share_counts_once(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0])
    grow(engine)
    answer(engine, Expansion("a", (0,), prompt_of(appended=True, text=""), ((0, 0),), HOT))
    assert engine.kv_tokens("a", []) == 0
    assert engine.kv_tokens("a", [(0,)]) == (PROMPT_PAGES + CHILD_PAGES) * PAGE_SIZE
    assert engine.kv_tokens("a", [(0,), (1,), (0,)]) == (PROMPT_PAGES + 2 * CHILD_PAGES) * PAGE_SIZE
    assert engine.kv_tokens("a", [(0, 0)]) == engine.kv_tokens("a", [(0,), (0, 0)])
    assert engine.kv_tokens("a", [(0, 0)]) > engine.kv_tokens("a", [(0,)])
    pages = sum(len(node.pages) for node in engine.forest.nodes())
    assert engine.kv_tokens("a", [(0, 0), (1,)]) == pages * PAGE_SIZE, "all that the pool has given away"


def test_a_thought_that_was_dropped_holds_nothing_and_an_unknown_one_neither(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0])
    grow(engine)
    engine.drop("a", (0,))
    assert engine.kv_tokens("a", [(0,), (7,)]) == 0
    assert engine.kv_tokens("b", [(1,)]) == 0


def test_neither_other_problems_nor_eviction_change_the_count(tiny_model: Build) -> None:
    alone, beside = (make_engine(tiny_model("llama")[0], kv_tokens=160) for _ in range(2))
    grow(alone)
    grow(beside)
    for problem in "bcd":
        grow(beside, problem)
    assert any(node.num_computed > node.num_cached for node in beside.forest.nodes()), "the pool was too small for all"
    for paths in ([(0,)], [(0,), (1,)]):
        assert beside.kv_tokens("a", paths) == alone.kv_tokens("a", paths)
