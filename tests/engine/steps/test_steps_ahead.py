"""Steps that are launched before the one in front of them is read: every child is what it is by definition."""

from __future__ import annotations

import random
from typing import cast

import pytest

pytest.importorskip("triton")

from tests.engine.hash_model import LETTERS, GraphModel, HashGraphStep, decode_alone
from treereason.core import Decoded, Expansion, Prompt, Sampling
from treereason.engine.engine import Engine
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.steps import graph_steps
from treereason.engine.steps.sampler import branch_key

STOPS = ((), ("a",), ("bc", "dd"), ("ha", "gg", "ce"))


def test_branches_that_end_unforeseen_change_nothing_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_steps, "GraphStep", HashGraphStep)
    chance = random.Random(0)
    num_whole = num_partly = num_for_nothing = 0
    for _ in range(10):
        model = GraphModel(max_rows=300)
        engine = Engine(
            cast(LanguageModel, model), seed=3, max_branches=32, prefill_tokens=200, kv_tokens=4096,
            capture=model.capture,
        )  # fmt: skip
        asked: dict[tuple[str, tuple[int, ...]], tuple[list[int], Prompt]] = {}
        found: dict[tuple[str, tuple[int, ...]], Decoded] = {}
        sampling = Sampling(1.0)
        for problem in "pqrs":
            text = "".join(chance.choice("abcdefgh") for _ in range(chance.randint(1, 40)))
            prompt = Prompt(text, max_tokens=40, stop=chance.choice(STOPS), ignore_end=chance.random() < 0.5)
            paths = tuple((rank,) for rank in range(4))
            engine.submit(Expansion(problem, (), prompt, paths, sampling))
            asked |= {(problem, path): ([LETTERS.index(letter) for letter in text], prompt) for path in paths}
        while engine.busy:
            num_ahead = len(engine._step_kinds[0].ahead)
            done, figures = engine.step()
            engine.forest.check()
            found |= {(child.problem, child.path): child for child in done}
            if num_ahead and (figures is None or not figures.num_branches):
                num_for_nothing += 1
            elif num_ahead and figures is not None:
                num_whole += figures.num_branches == num_ahead
                num_partly += figures.num_branches < num_ahead
        for key, (tokens, prompt) in asked.items():
            want = decode_alone(tokens, prompt, sampling, branch_key(3, *key))
            got = found[key]
            assert (got.text, got.finish, got.stop, got.error) == (want.text, want.finish, want.stop, want.error)
            assert got.logprob == pytest.approx(want.logprob, abs=1e-4) or want.error
        for problem in "pqrs":
            engine.end_problem(problem)
        assert engine.forest.pool.num_free == engine.forest.pool.num_pages
    assert num_whole > 100
    assert num_partly > 50
    assert num_for_nothing > 0
