"""A captured step asks no tensor for its values and mixes in none of the host: seen on tensors that have none."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, PreTrainedModel

from treereason.core import Sampling
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.steps.sampler import sample
from treereason.engine.steps.sampling_rows import Cuts, SamplingRows
from treereason.engine.steps.step_buffers import StepBuffers
from treereason.kernels.options import AttentionOptions

Build = Callable[[str], tuple[LanguageModel, PreTrainedModel]]
META = torch.device("meta")


class NoAttention:
    """Our kernels take a plan from fixed addresses, which test_graphs.py looks at."""

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, options: AttentionOptions
    ) -> torch.Tensor:
        assert layer >= 0
        assert key.shape == value.shape
        assert options.scale > 0
        return query.contiguous()


@pytest.mark.parametrize(
    "kind",
    ["llama", "qwen2", "qwen3", "mistral", "mixtral", "gemma2", "gemma3", "phi3", "olmo2", "granite", "gpt_oss"],
)
@torch.inference_mode()
def test_every_tested_architecture_runs_on_tensors_without_values(kind: str, tiny_model: Build) -> None:
    config = tiny_model(kind)[1].config
    auto: Any = AutoModelForCausalLM
    with META:
        network = auto.from_config(config, dtype=torch.bfloat16)
    numbers = torch.zeros(3, 8, dtype=torch.int64, device=META)
    model = LanguageModel(network, type("Tokenizer", (), {"eos_token_id": 0})(), "plain")
    logits = model.forward_all(numbers[0], numbers[1], NoAttention())
    assert logits.shape == (8, config.vocab_size)
    for cuts in (Cuts(), Cuts(True), Cuts(True, 20)):
        tokens, logprobs = sample(logits, numbers[2], numbers[1] + 1, rows_of(8, cuts))
        assert tokens.shape == logprobs.shape == (8,)
        assert tokens.device == logprobs.device == META


def rows_of(num_rows: int, cuts: Cuts) -> SamplingRows:
    ones = torch.ones(num_rows, device=META)
    return SamplingRows(ones, ones, ones, torch.ones(num_rows, dtype=torch.int32, device=META), cuts)


class Count(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.total += 1
        return func(*args, **(kwargs or {}))


@torch.inference_mode()
def test_sampling_takes_few_operations_however_many_rows_and_ids_there_are() -> None:
    places = torch.ones(64, dtype=torch.int64, device=META)
    with Count() as count:  # type: ignore[no-untyped-call]
        sample(torch.ones(64, 150_000, device=META), places, places, rows_of(64, Cuts()))
    assert 10 < count.total < 100


@torch.inference_mode()
def test_the_check_can_fail() -> None:
    logits, places = torch.ones(8, 5, device=META), torch.ones(8, dtype=torch.int64, device=META)
    with pytest.raises(RuntimeError, match="item"):
        bool(sample(logits, places, places, rows_of(8, Cuts()))[0].any())
    with pytest.raises(RuntimeError, match="device"):
        sample(logits, places, torch.ones(8, dtype=torch.int64), rows_of(8, Cuts()))


def test_buffers_carry_every_number_exactly_and_pad_with_rows_that_do_no_harm() -> None:
    buffers = StepBuffers(4, torch.device("cpu"))
    keys = [-(2**63), 2**63 - 1, 12345]
    buffers.place([7, 8, 9, 10], [Sampling(0.5, 0.5, 5, 0.5)] * 4)
    buffers.send([1, 1, 1, 1], [1, 1, 1, 1], 4)
    buffers.place(keys, [Sampling(0.7), Sampling(0.0, 0.25, 2**31 - 1), Sampling(1.5, 0.9, 40, 0.05)])
    buffers.send([11, 12, 13], [100_000, 0, 5], 4)
    token_ids, positions, on_device = buffers.inputs(4)
    rows = buffers.sampling(4, Cuts(True, 40))
    assert token_ids.tolist() == [11, 12, 13, 0]
    assert positions.tolist() == [100_000, 0, 5, 0]
    assert on_device.tolist() == [*keys, 0]
    torch.testing.assert_close(rows.temperature, torch.tensor([0.7, 0.0, 1.5, 0.0]), atol=0, rtol=0)
    torch.testing.assert_close(rows.top_p, torch.tensor([1.0, 0.25, 0.9, 1.0]), atol=0, rtol=0)
    torch.testing.assert_close(rows.min_p, torch.tensor([0.0, 0.0, 0.05, 0.0]), atol=0, rtol=0)
    assert rows.top_k.tolist() == [0, 2**31 - 1, 40, 0]
    assert rows.cuts == (True, 40)

    logprobs = torch.tensor([-1e-20, -0.1, float("nan"), -3.0])
    buffers.put(torch.tensor([0, 262_143, 2**31, 5]), logprobs)
    first = buffers.fetch(3)
    buffers.feed(4)
    assert token_ids.tolist()[:3] == [0, 262_143, 2**31]
    assert positions.tolist() == [100_001, 1, 6, 0], "padding stays at position 0"
    assert on_device.tolist() == [*keys, 0]
    buffers.put(torch.tensor([1, 2, 3, 4]), logprobs)
    second = buffers.fetch(3)
    assert buffers.read(second, 3)[0] == [1, 2, 3]
    tokens, read = buffers.read(first, 3)
    assert tokens == [0, 262_143, 2**31]
    assert read[:2] == logprobs[:2].tolist()
    assert math.isnan(read[2])
