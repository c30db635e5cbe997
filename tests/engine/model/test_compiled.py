"""Models on a CPU compute with compiled kernels what they compute with torch's operations."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.engine.steps.graph_runs import Letters
from tests.fakes import CONFIGS
from treereason.core import UserError
from treereason.engine.attention.eager_step import eager_step
from treereason.engine.kv.cache import KVCache
from treereason.engine.kv.forest import RUN, Forest
from treereason.engine.kv.pages import PagePool
from treereason.engine.model import compiled
from treereason.engine.model.compiled import compiled_attends
from treereason.engine.model.fuse import fuse
from treereason.engine.model.fused_kernels import cpu_kernels
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.model.load import load_model
from treereason.engine.model.make_quick import make_quick
from treereason.kernels.cpu.compiled_backend import CompiledBackend
from treereason.kernels.cpu.library import CannotCompile, prepare

try:
    prepare()
except CannotCompile as error:
    pytest.skip(str(error), allow_module_level=True)

WIDE = {"hidden_size": 64, "intermediate_size": 96, "head_dim": 32}
FUSED = {
    "llama": "5 norms, 2 gates, 2 rotations, 2 residual sums",
    "mixtral": "5 norms, 2 rotations, 2 residual sums",
    "gemma2": "9 norms",
}


def network(kind: str, dtype: torch.dtype = torch.float32) -> Any:
    """A random model of two layers whose heads fill vectors; equal weights each time."""
    torch.manual_seed(0)
    config = CONFIGS[kind]()
    config.num_hidden_layers = 2
    for name, value in WIDE.items():
        setattr(config, name, value)
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:2]
    auto: Any = AutoModelForCausalLM
    made = auto.from_config(config, dtype=dtype)
    for name, weight in made.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(weight, mean=1.0)  # a weight of ones would hide its place
    return made


def logits(model: LanguageModel, *, only: int | None = None, prefill: int = 40) -> torch.Tensor:
    """Of the last tokens of a forked tree, or of one branch; its prompt of 40 tokens comes in pieces of `prefill`."""
    forest, cache = Forest(PagePool(8), page_size=16), KVCache(8, page_size=16)
    root = forest.attach(list(range(1, 41)), RUN)
    while root.num_cached < 40:
        num_new = min(prefill, 40 - root.num_cached)
        forest.compute(root, num_new)
        model.forward(eager_step(forest, {root: num_new}, cache, attention=model.attention), [])
    branches = []
    for i in range(3) if only is None else [only]:
        branches.append(forest.fork(root, RUN))
        branches[-1].tokens = list(range(3 + i, 9 + 2 * i))
        forest.compute(branches[-1], len(branches[-1].tokens))
    new = {branch: len(branch.tokens) for branch in branches}
    step = eager_step(forest, new, cache, attention=model.attention)
    return model.forward(step, [step.rows[branch][-1] for branch in branches]).float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", CONFIGS)
def test_logits_are_those_of_torch(kind: str, dtype: torch.dtype) -> None:
    plain = LanguageModel(network(kind, dtype), Letters(), "plain")
    fast = LanguageModel(network(kind, dtype), Letters(), "plain")
    fast.attention = "compiled"
    fusion = fuse(fast._network, cpu_kernels())
    assert fusion.kept == []
    assert str(fusion) == FUSED.get(kind, str(fusion))
    want, allowed = logits(plain), 1e-5 if dtype == torch.float32 else 5e-2
    assert (logits(fast) - want).abs().max() <= allowed * want.abs().max()
    quick = LanguageModel(network(kind, dtype), Letters(), "plain")
    make_quick(quick, quick._network)  # with whole layers in one call
    assert (logits(quick) - want).abs().max() <= allowed * want.abs().max()


@pytest.mark.parametrize(
    ("kind", "known"), [("llama", 1), ("mistral", 1), ("qwen2", 1), ("qwen3", 0), ("mixtral", 0), ("gemma2", 0)]
)
def test_layers_of_which_every_part_is_known_are_one_call_for_all(
    kind: str, known: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LanguageModel(network(kind), Letters(), "plain")
    make_quick(model, model._network)
    calls = []
    real = CompiledBackend.decoder_layers

    def counted(*given: Any) -> torch.Tensor:
        calls.append(given)
        return real(*given)

    monkeypatch.setattr(CompiledBackend, "decoder_layers", counted)
    logits(model)
    assert len(calls) == 2 * known, "for the prompt and for its branches"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_rows_that_nobody_reads_change_no_bits_of_those_read(dtype: torch.dtype) -> None:
    model = LanguageModel(network("llama", dtype), Letters(), "plain")
    make_quick(model, model._network)

    def read(rows: list[int]) -> torch.Tensor:
        forest, cache = Forest(PagePool(16), page_size=16), KVCache(16, page_size=16)
        root = forest.attach([1 + i % 60 for i in range(200)], RUN)
        forest.compute(root, 200)
        return model.forward(eager_step(forest, {root: 200}, cache, attention=model.attention), rows)

    rows = [0, 7, 130, 199]
    assert torch.equal(read(rows), read(list(range(200)))[rows])
    assert read([]).shape[0] == 0


def test_the_shipped_model_runs_compiled_and_may_be_told_not_to() -> None:
    assert load_model("embedded", style="embedded").attention == "compiled"
    plain = load_model("embedded", style="embedded", cpu="torch")
    assert (plain.attention, plain.fused) == ("tree", "")


@pytest.mark.parametrize("reason", ["there is no C++ compiler (c++, g++ or $CXX)"])
def test_without_a_compiler_torch_takes_over_and_says_so(
    reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> None:
        raise CannotCompile(reason)

    monkeypatch.setattr(compiled, "prepare", refuse)
    model = network("llama")
    with caplog.at_level(logging.WARNING):
        assert not compiled_attends(model, "auto")
    assert caplog.messages == [f"a step takes longer: no compiled CPU kernels: {reason}"]
    with pytest.raises(UserError, match=r"engine.cpu=compiled: there is no C\+\+ compiler .*; use engine.cpu=auto"):
        compiled_attends(model, "compiled")


def test_heads_that_the_kernel_does_not_compute_stay_with_torch() -> None:
    model = network("llama")
    model.config.head_dim = 40
    with pytest.raises(UserError, match=r"heads of 40 in torch\.float32; it computes multiples of 32 in float32"):
        compiled_attends(model, "compiled")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_branch_has_the_same_bits_whatever_decodes_beside_it(dtype: torch.dtype) -> None:
    model = LanguageModel(network("qwen2", dtype), Letters(), "plain")
    make_quick(model, model._network)
    assert model.same_bits
    together = logits(model)
    for i in range(3):
        assert torch.equal(logits(model, only=i)[0], together[i])
    assert torch.equal(logits(model, prefill=13), together), "however the prompt was computed"
