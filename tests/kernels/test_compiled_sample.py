"""The compiled sampler draws what torch's operations draw, where a compiler is at hand."""

from __future__ import annotations

import math

import pytest
import torch

from treereason.core.prompt import LOWEST_TEMPERATURE, Sampling
from treereason.engine.steps.sampler import sample, sample_by_torch
from treereason.engine.steps.sampling_rows import SamplingRows
from treereason.kernels.cpu import library

try:
    library.prepare()
except library.CannotCompile as error:
    pytest.skip(str(error), allow_module_level=True)

ROWS = 64


def draws(logits: torch.Tensor, temperature: float, *, compiled: bool) -> tuple[torch.Tensor, torch.Tensor]:
    rows = SamplingRows.of([Sampling(temperature)] * len(logits), torch.device("cpu"))
    keys = torch.arange(len(logits)) * 2**55 - 2**62
    return sample(logits, keys, torch.arange(len(logits)) + 7, rows, compiled=compiled)


@pytest.mark.parametrize("temperature", [0.0, LOWEST_TEMPERATURE, 0.3, 1.0, 5.0])
@pytest.mark.parametrize(("num_ids", "spread"), [(1, 1.0), (72, 3.0), (4096, 0.1), (4097, 8.0), (20001, 2.0)])
def test_tokens_and_log_probabilities_are_those_of_torch(num_ids: int, spread: float, temperature: float) -> None:
    logits = torch.randn(ROWS, num_ids, generator=torch.Generator().manual_seed(num_ids)) * spread + 40
    tokens, logprobs = draws(logits, temperature, compiled=True)
    want, want_logprobs = draws(logits, temperature, compiled=False)
    assert torch.equal(tokens, want)
    torch.testing.assert_close(logprobs, want_logprobs, atol=2e-5, rtol=1e-5)


def test_of_equal_logits_the_first_is_taken_and_every_one_is_drawn() -> None:
    logits = torch.zeros(ROWS, 40)
    assert draws(logits, 0.0, compiled=True)[0].eq(0).all()
    many = torch.zeros(4000, 5)
    assert draws(many, 1.0, compiled=True)[0].bincount(minlength=5).min() > 700


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_distribution_has_no_log_probability(bad: float) -> None:
    logits = torch.randn(3, 100)
    logits[1, 17] = bad
    logits[2] = -math.inf
    tokens, logprobs = draws(logits, 0.7, compiled=True)
    assert logprobs[0].isfinite()
    assert logprobs[1:].isnan().all()
    assert ((tokens >= 0) & (tokens < 100)).all()


def test_rows_that_leave_tokens_out_go_through_torch() -> None:
    logits = torch.randn(8, 300)
    rows = SamplingRows.of([Sampling(1.0, top_p=0.5)] * 8, torch.device("cpu"))
    keys = torch.arange(8)
    got, want = sample(logits, keys, keys, rows, compiled=True), sample_by_torch(logits, keys, keys, rows)
    assert torch.equal(got[0], want[0])
