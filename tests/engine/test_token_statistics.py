"""Statistics of distributions: those of transformers' full logits, whatever else decodes, and only where asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from tests.engine.driving import HOT, Build, Found, answer, make_engine, prompt_of
from treereason.core import Decoded, Expansion, Prompt, Resumption, Sampling, TokenStatistics, Writing
from treereason.engine.engine import Engine
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.steps.distribution_statistics import distribution_statistics

PATHS = ((0,), (1,), (2,))
PROMPT = prompt_of("WHICH DO YOU LIKE? ", 12, shared="A QUESTION OF TASTE. ")


def naive(twin: PreTrainedModel, before: list[int], own: list[int]) -> np.ndarray:
    """[T, 3] entropy, self-certainty and confidence by their definitions, from the whole sequence at once."""
    with torch.inference_mode():
        logits = twin(torch.tensor([before + own])).logits[0].double().numpy()
    rows = []
    for row in logits[len(before) - 1 : len(before) + len(own) - 1]:
        shares = np.exp(row - row.max())
        shares /= shares.sum()
        uniform = np.full(len(shares), 1 / len(shares))
        rows.append(
            (
                -np.sum(shares * np.log(shares)),
                np.sum(uniform * np.log(uniform / shares)),
                -np.mean(np.sort(np.log(shares))[-20:]),
            )
        )
    return np.array(rows)


def as_rows(statistics: TokenStatistics | None) -> np.ndarray:
    assert statistics is not None
    return np.array([statistics.entropy, statistics.self_certainty, statistics.confidence]).T


def tokens_of(engine: Engine, child: Decoded) -> list[int]:
    return engine._thoughts.get(child.problem, child.path).branch.tokens


def decoded(model: LanguageModel, sampling: Sampling = HOT, prompt: Prompt = PROMPT, **options: object) -> Found:
    return answer(make_engine(model, **options), Expansion("a", (), prompt, PATHS, sampling))


@pytest.mark.parametrize("kind", ["llama", "gemma2", "mistral"])
def test_statistics_are_those_of_transformers_full_logits(kind: str, tiny_model: Build) -> None:
    model, twin = tiny_model(kind)
    engine = make_engine(model, token_statistics=True)
    found = answer(engine, Expansion("a", (), PROMPT, PATHS, HOT))
    for path in PATHS:
        child = found["a", path]
        want = naive(twin, model.encode_text(PROMPT.plain), tokens_of(engine, child))
        assert want.shape == (12, 3)
        np.testing.assert_allclose(as_rows(child.token_statistics), want, rtol=1e-4, atol=1e-4)


def test_given_texts_have_statistics_too_in_chunks_of_any_size(tiny_model: Build) -> None:
    model, twin = tiny_model("llama")
    texts = ("APPLES AND PEARS", "APPLES", "PEARS, AND WHATEVER ELSE GROWS ON TREES", "")
    for prefill_tokens in (64, 3):
        engine = make_engine(model, token_statistics=True, prefill_tokens=prefill_tokens)
        found = answer(engine, Writing("a", (), Prompt("LIKE? "), ((0,), (1,), (2,), (3,)), texts))
        for i, text in enumerate(texts[:3]):
            want = naive(twin, model.encode_text("LIKE? "), model.encode_text(text))
            np.testing.assert_allclose(as_rows(found["a", (i,)].token_statistics), want, rtol=1e-4, atol=1e-4)
        assert found["a", (3,)].token_statistics is None


def test_a_resumed_thought_has_those_of_all_its_pieces(tiny_model: Build) -> None:
    model, _ = tiny_model("llama")
    whole = decoded(model, token_statistics=True)
    engine = make_engine(model, token_statistics=True)
    first = answer(engine, Expansion("a", (), replace(PROMPT, max_tokens=5), PATHS, HOT))
    assert [len(first["a", path].token_statistics or ()) for path in PATHS] == [5, 5, 5]
    rest = replace(PROMPT, max_tokens=7)
    found = answer(engine, *(Resumption("a", path, rest, HOT) for path in PATHS))
    for path in PATHS:
        assert (
            as_rows(found["a", path].token_statistics).tobytes() == as_rows(whole["a", path].token_statistics).tobytes()
        )
        assert len(first["a", path].token_statistics or ()) == 5  # what was answered before stays as it was


@pytest.mark.parametrize("sampling", [HOT, Sampling(temperature=0.0), Sampling(0.7, top_p=0.9, top_k=5)])
def test_they_change_nothing_and_do_not_depend_on_what_decodes_together(sampling: Sampling, tiny_model: Build) -> None:
    model, _ = tiny_model("llama")
    wide = decoded(model, sampling, token_statistics=True)
    narrow = decoded(model, sampling, token_statistics=True, max_branches=1)
    without = decoded(model, sampling)
    for path in PATHS:
        child = wide["a", path]
        near = as_rows(narrow["a", path].token_statistics)  # matrix products round by the number of their rows
        np.testing.assert_allclose(as_rows(child.token_statistics), near, rtol=1e-5, atol=1e-5)
        assert (child.text, child.logprob) == (without["a", path].text, without["a", path].logprob)
        assert without["a", path].token_statistics is None


def test_they_are_the_same_bits_whatever_decodes_beside_them_when_logits_are(tiny_model: Build) -> None:
    model, _ = tiny_model("llama")
    alone, beside = (make_engine(model, token_statistics=True, deterministic=True) for _ in range(2))
    beside.submit(Expansion("b", (), prompt_of("SOMETHING ELSE", 20), ((0,), (1,)), HOT))
    beside.step()
    found = [answer(engine, Expansion("a", (), PROMPT, PATHS, HOT)) for engine in (alone, beside)]
    for path in PATHS:
        one, other = (as_rows(each["a", path].token_statistics).tobytes() for each in found)
        assert one == other


def test_a_token_that_cannot_come_is_not_in_the_vocabulary() -> None:
    logits = torch.tensor([[0.0, 0.0, float("-inf"), 0.0], [float("-inf")] * 3 + [5.0]])
    assert distribution_statistics(logits) == [
        pytest.approx([np.log(3), 0.0, np.log(3)]),
        pytest.approx([0.0, 0.0, 0.0]),
    ]
    assert np.isnan(distribution_statistics(torch.tensor([[0.0, float("nan")]]))).all()


def test_the_rows_of_many_are_those_of_one() -> None:
    logits = torch.randn(7, 50_000, generator=torch.Generator().manual_seed(0)) * 4
    assert distribution_statistics(logits) == [distribution_statistics(row[None])[0] for row in logits]
