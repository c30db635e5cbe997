"""Modules whose small operations are one kernel compute what their originals do, or the originals stay.

Under Triton's interpreter, which tests/conftest.py asks for, or on a GPU without it (`make gpu`).
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
import torch

pytest.importorskip("triton")
pytest.importorskip("transformers")

from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from tests.engine.steps.graph_runs import (
    DEVICE,
    INTERPRETED,
    Letters,
    Run,
    check_equal,
    graphs_of,
    grow_prune_and_go_on,
    make_engine,
)
from tests.engine.steps.watched_capture import watched
from tests.fakes import CONFIGS, slow
from tests.kernels.interpreter_rounding import round_bfloat16
from treereason.core import Prompt
from treereason.engine.model import fused_modules
from treereason.engine.model.fuse import fuse
from treereason.engine.model.fused_kernels import FusedKernels, gpu_kernels
from treereason.engine.model.fused_modules import FusedNorm
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.model.make_quick import fuse_known
from treereason.engine.steps.cuda_capture import Capture
from treereason.kernels.norm_form import NormForm
from treereason.kernels.options import AttentionOptions

if not INTERPRETED:
    pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")]

interpreted_only = pytest.mark.skipif(not INTERPRETED, reason="not a matter of graphs, or hidden by them")
__all__ = ["watched"]  # a fixture
META = torch.device("meta")
GPU = gpu_kernels()
WHOLE = "{} norms, 1 gates, 1 rotations, 1 residual sums"
FUSED = {  # of one layer, and the norm behind it
    "llama": WHOLE.format(3),
    "mistral": WHOLE.format(3),
    "qwen2": WHOLE.format(3),
    "qwen3": WHOLE.format(5),
    "granite": "3 norms, 1 gates, 1 rotations",
    "mixtral": "3 norms, 1 rotations, 1 residual sums",
    "olmo2": "5 norms, 1 gates",
    "phi3": "3 norms",
    "gpt_oss": "3 norms",
    "gemma2": "5 norms",
    "gemma3": "7 norms",
}


@pytest.fixture(autouse=True)
def _bfloat16_is_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    if INTERPRETED:
        round_bfloat16(monkeypatch)


@pytest.fixture
def _empty_is_poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not written is NaN, as `Run` expects."""
    real_empty = torch.empty

    def poisoned(*args: Any, **kwargs: Any) -> torch.Tensor:
        tensor = real_empty(*args, **kwargs)
        return tensor.fill_(float("nan")) if tensor.is_floating_point() else tensor

    monkeypatch.setattr(torch, "empty", poisoned)


poisoned = pytest.mark.usefixtures("_empty_is_poisoned")


def build(kind: str, dtype: torch.dtype = torch.float32) -> LanguageModel:
    """A random model of one layer where kernels run; equal weights each time."""
    torch.manual_seed(0)
    auto: Any = AutoModelForCausalLM
    config = CONFIGS[kind]()
    config.num_hidden_layers = 1  # interpreted kernels are slow
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:1]
    network = auto.from_config(config, dtype=dtype).to(DEVICE)
    for name, weight in network.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(weight, mean=1.0)  # a weight of ones would hide its place
    model = LanguageModel(network, Letters(), "plain")
    model.attention = "triton"
    return model


@pytest.mark.parametrize("dtype", [torch.bfloat16, *slow(torch.float16, torch.float32)], ids=str)
@pytest.mark.parametrize("kind", CONFIGS)
def test_each_module_that_is_known_equals_its_original(kind: str, dtype: torch.dtype) -> None:
    fusion = fuse(build(kind, dtype)._network, GPU)
    assert fusion.kept == []
    assert str(fusion) == FUSED[kind]


@poisoned
@pytest.mark.parametrize("kind", ["qwen3", *slow("llama", "mistral")])
def test_answers_and_logits_with_fused_modules_are_those_without(kind: str) -> None:
    plain, fused = build(kind), build(kind)
    fuse(fused._network, GPU)
    want, got = Run(make_engine(plain)), Run(make_engine(fused))
    for run in (want, got):
        if kind == "llama":
            grow_prune_and_go_on(run, num_appended=3)
        else:
            run.submit("a", (), Prompt("ASK", max_tokens=3, ignore_end=True), 2)
            run.steps()
    check_equal(got, want)
    assert set(got.launches) == {"graph", "prefill"}


@poisoned
@interpreted_only
@pytest.mark.parametrize("attention", ["sequence", "invariant"])
def test_steps_on_torch_operations_take_fused_modules_too(attention: Any) -> None:
    found = []
    for fused in (False, True):
        model = build("llama")
        model.attention = attention
        if fused:
            fuse(model._network, GPU)
        engine = make_engine(model, deterministic=attention == "invariant", max_branches=4, prefill_tokens=8)
        run = Run(engine)
        run.submit("a", (), Prompt("ASK", max_tokens=3, ignore_end=True), 2)
        run.steps()
        found.append({key: child.text for key, child in run.found.items()})
    assert found[0] == found[1]


@poisoned
@interpreted_only
def test_a_captured_step_of_fused_modules_takes_nothing_from_the_host(watched: Capture) -> None:
    model = build("qwen3")
    fuse(model._network, GPU)
    run = Run(make_engine(model, capture=watched))
    run.keeps_logits = False
    run.submit("a", (), Prompt("ASK", max_tokens=3, ignore_end=True), 2)
    run.steps()
    assert set(run.launches) == {"prefill", "graph"}
    assert graphs_of(run.engine).num_captures == 1


def warnings_of(
    model: LanguageModel, caplog: pytest.LogCaptureFixture, kernels: FusedKernels = GPU
) -> tuple[str, list[str]]:
    with caplog.at_level(logging.WARNING):
        told = fuse_known("mine", model._network, kernels)
    return told, [record.getMessage() for record in caplog.records]


def test_a_class_that_computes_otherwise_stays_and_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"{LlamaRMSNorm.__module__}.LlamaRMSNorm"
    monkeypatch.setitem(fused_modules.NORMS, name, NormForm(one_more=True))
    model = build("llama")
    told, [warning] = warnings_of(model, caplog)
    assert told == "1 gates, 1 rotations", "a layer's sum needs its norm"
    assert warning.startswith("model.name=mine: a step takes longer: LlamaRMSNorm stays: its kernel differs by ")
    assert not any(isinstance(module, FusedNorm) for module in model._network.modules())


def test_a_class_whose_kernel_fails_stays_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("no such instruction\nand more")

    told, [warning] = warnings_of(build("llama"), caplog, replace(GPU, silu_mul=fail))
    assert told == "3 norms, 1 rotations, 1 residual sums"
    assert warning.endswith("LlamaMLP stays: RuntimeError: no such instruction and more")


def test_a_layer_with_another_window_than_its_original_stays(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name = "transformers.models.mistral.modeling_mistral.MistralAttention"
    monkeypatch.setitem(fused_modules.ATTENTIONS, name, lambda _: None)
    told, [warning] = warnings_of(build("mistral"), caplog)
    assert "rotations" not in told
    assert "MistralAttention stays: its kernel differs" in warning


def test_a_model_without_known_modules_is_told(caplog: pytest.LogCaptureFixture) -> None:
    model = build("llama")
    for module in model._network.modules():
        if type(module).__module__.endswith("modeling_llama"):
            module.__class__ = type("Mine", (type(module),), {})
    told, [warning] = warnings_of(model, caplog)
    assert told == "none"
    assert warning.startswith("model.name=mine: no fused kernels are known for the modules of Mine: ")


def test_an_activation_other_than_silu_stays() -> None:
    torch.manual_seed(0)
    auto: Any = AutoModelForCausalLM
    config = CONFIGS["llama"]()
    config.hidden_act = "gelu"
    network = LanguageModel(auto.from_config(config).to(DEVICE), Letters(), "plain")._network
    assert "gates" not in fuse(network, GPU).counts


class Launches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations of torch that launch something: no views, and no memory alone."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.total += not (func.is_view or func.overloadpacket.__name__ in {"empty", "_unsafe_view", "detach"})
        return func(*args, **(kwargs or {}))


class Attention:
    """Counts what a captured step would launch for it: the store of KV, a decode and a merge."""

    launches = 0

    def attend(
        self,
        layer: int,  # noqa: ARG002
        query: torch.Tensor,
        key: torch.Tensor,  # noqa: ARG002
        value: torch.Tensor,  # noqa: ARG002
        options: AttentionOptions,  # noqa: ARG002
    ) -> torch.Tensor:
        self.launches += 3
        return query.contiguous()

    def rotate_and_attend(self, layer: int, query: torch.Tensor, *_: Any) -> torch.Tensor:
        return self.attend(layer, query, query, query, AttentionOptions(1.0))


@interpreted_only
@torch.inference_mode()
def test_a_fused_step_launches_little_more_than_a_third(monkeypatch: pytest.MonkeyPatch) -> None:
    from triton.runtime import interpreter

    kernels = 0

    def count(*_: Any, **__: Any) -> None:
        nonlocal kernels
        kernels += 1

    monkeypatch.setattr(interpreter.GridExecutor, "__call__", count)
    with META:
        config = LlamaConfig(num_hidden_layers=32, hidden_size=64, intermediate_size=96, vocab_size=64)
        auto: Any = AutoModelForCausalLM
        model = LanguageModel(auto.from_config(config, dtype=torch.bfloat16), Letters(), "plain")
    numbers = torch.zeros(2, 8, dtype=torch.int64, device=META)

    def launches() -> tuple[int, int]:
        nonlocal kernels
        kernels, step = 0, Attention()
        with Launches() as seen:  # type: ignore[no-untyped-call]
            model.forward_all(numbers[0], numbers[1], step)
        return seen.total, kernels + step.launches

    before = launches()
    monkeypatch.setattr("treereason.engine.model.fuse._error", lambda *_: 0.0)  # there are no values to compare
    fuse(model._network, GPU)
    after = launches()
    assert before[1] == 96
    assert before[0] > 32 * 32
    assert after[1] == 32 * (3 + 3) + 1, "a rotation stores KV; norm, norm of a sum and gate; and the last norm"
    assert after[0] <= 32 * 8 + 20, "seven products a layer, and a sum"
    assert sum(after) < 0.4 * sum(before)
