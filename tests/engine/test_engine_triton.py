"""The engine on the Triton kernels, run by Triton's interpreter: same logits as on the torch backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from treereason.core import Expansion, Prompt, Sampling
from treereason.engine.attention.eager_step import AttentionKind
from treereason.engine.engine import Engine
from treereason.engine.model.language_model import LanguageModel

pytest.importorskip("triton")


def logits_of(model: Any, attention: AttentionKind) -> list[torch.Tensor]:
    """Of every step of two problems that share a head, and of a thought that goes on from one of them."""
    seen: list[torch.Tensor] = []
    forward = model.forward

    def watched(*args: Any) -> torch.Tensor:
        seen.append(forward(*args))
        return seen[-1]

    model.forward = watched
    engine = Engine(model, seed=0, max_branches=8, prefill_tokens=64, kv_tokens=512, attention=attention)
    for problem in "ab":
        prompt = Prompt("ASK " + problem, shared="THE SHARED HEAD OF ALL, ", max_tokens=3, ignore_end=True)
        engine.submit(Expansion(problem, (), prompt, ((0,), (1,)), Sampling(1.0)))
    while engine.busy:
        engine.step()
    engine.submit(Expansion("a", (0,), Prompt(" GO ON", appended=True, max_tokens=2), ((0, 0),), Sampling(1.0)))
    while engine.busy:
        engine.step()
    return seen


def test_the_engine_on_triton_kernels_equals_the_torch_backend(
    tiny_model: Callable[[str], tuple[LanguageModel, PreTrainedModel]],
) -> None:
    on_torch, on_triton = (logits_of(tiny_model("gemma2")[0], attention) for attention in ("tree", "triton"))
    assert len(on_torch) == len(on_triton) > 4
    for want, got in zip(on_torch, on_triton, strict=True):
        torch.testing.assert_close(got, want, atol=1e-5, rtol=0)
