"""Sampling depends on nothing but seed, problem, path, position and logits, and draws from the softmax."""

from __future__ import annotations

import pytest
import torch

from treereason.engine.steps import sampler
from treereason.engine.steps.sampler import NOISE_LIMIT, _gumbel, _nucleus, branch_key, sample


def draw(logits: torch.Tensor, num: int, temperature: float = 1.0, top_p: float = 1.0) -> torch.Tensor:
    rows = logits.expand(num, -1)
    keys = torch.tensor([branch_key(0, "p", (i,)) for i in range(num)])
    full = torch.full((num,), 1.0)
    return sample(rows, keys, torch.zeros(num, dtype=torch.long), full * temperature, full * top_p)[0]


def test_a_draw_does_not_depend_on_its_neighbours() -> None:
    logits = torch.randn(64, 100, generator=torch.Generator().manual_seed(0))
    keys = torch.tensor([branch_key(7, str(i), (i, 2)) for i in range(64)])
    positions = torch.arange(64)
    temperature, top_p = torch.full((64,), 0.8), torch.full((64,), 0.9)
    together = sample(logits, keys, positions, temperature, top_p)[0]
    alone = [
        sample(logits[i : i + 1], keys[i : i + 1], positions[i : i + 1], temperature[:1], top_p[:1])[0].item()
        for i in range(64)
    ]
    assert together.tolist() == alone


def test_a_row_that_keeps_all_ids_keeps_them_beside_one_that_does_not() -> None:
    logits = torch.tensor([0.0, -20.0, -20.0]).expand(2, -1)  # in float32 the first probability is 1
    kept = _nucleus(logits, logits.logsumexp(1, keepdim=True), torch.tensor([1.0, 0.9])).isfinite().tolist()
    assert kept == [[True, True, True], [True, False, False]]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_follow_the_tempered_softmax(temperature: float) -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, 0.5])
    num = 40_000
    frequency = torch.bincount(draw(logits, num, temperature), minlength=5) / num
    torch.testing.assert_close(frequency, (logits / temperature).softmax(0), atol=0.01, rtol=0)


def test_top_p_keeps_the_smallest_set_that_reaches_it() -> None:
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    assert set(draw(logits, 2000, top_p=0.8).tolist()) == {0, 1}
    assert set(draw(logits, 2000, top_p=0.81).tolist()) == {0, 1, 2}
    assert set(draw(logits, 200, top_p=1e-9).tolist()) == {0}


def test_whether_there_is_a_nucleus_may_be_told() -> None:
    logits = torch.randn(32, 20, generator=torch.Generator().manual_seed(0))
    rows = logits, torch.arange(32), torch.arange(32), torch.ones(32)
    half, whole = torch.full((32,), 0.5), torch.ones(32)
    within, free = sample(*rows, half)[0], sample(*rows, whole)[0]
    assert not within.equal(free)
    assert sample(*rows, half, nucleus=True)[0].equal(within)
    assert sample(*rows, half, nucleus=False)[0].equal(free)


@pytest.mark.parametrize("temperature", [0.0, 1e-45, 1e-38, 1e-7])
def test_temperatures_of_zero_and_next_to_it_are_argmax(temperature: float) -> None:
    assert set(draw(torch.tensor([90.0, 100.0, 50.0]), 50, temperature=temperature).tolist()) == {1}


@pytest.mark.parametrize("other", [(1, "p", (0,)), (0, "q", (0,)), (0, "p", (1,)), (0, "p", (0, 0))])
def test_every_part_of_the_key_counts(other: tuple[int, str, tuple[int, ...]]) -> None:
    logits = torch.zeros(1, 10_000)
    keys = [branch_key(0, "p", (0,)), branch_key(*other)]
    tokens = [sample(logits, torch.tensor([key]), torch.tensor([3]), torch.ones(1), torch.ones(1))[0] for key in keys]
    assert tokens[0] != tokens[1]


def test_noise_is_finite_everywhere() -> None:
    noise = _gumbel(torch.arange(64), torch.arange(64), torch.arange(50_000).expand(64, -1))
    assert torch.isfinite(noise).all()
    assert noise.max() < NOISE_LIMIT
    assert 0.5 < noise.mean() < 0.65  # the Euler-Mascheroni constant, 0.577


@pytest.mark.parametrize(("hashed", "low", "high"), [(-1, NOISE_LIMIT - 0.1, NOISE_LIMIT), (0, -NOISE_LIMIT, 0.0)])
def test_the_largest_noise_is_just_below_its_limit_and_the_smallest_is_finite(
    hashed: int, low: float, high: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "_mix", lambda x: torch.full_like(x, hashed))
    zeros = torch.zeros(1, dtype=torch.int64)
    assert low < _gumbel(zeros, zeros, zeros[None]).item() < high


@pytest.mark.parametrize("spread", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("top_p", [1.0, 0.95, 0.3])
def test_leaving_out_ids_that_cannot_be_drawn_changes_no_draw(
    spread: float, top_p: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 500, generator=generator) * spread
    logits[:, ::7] = float("-inf")
    logits[3, 5] = logits[4, 6] = float("nan")
    logits[5, 7] = float("inf")
    logits[6] = float("-inf")
    keys = torch.randint(-(2**60), 2**60, (200,), generator=generator)
    temperature = torch.tensor([0.0, 0.7, 1.0, 2.0, 1e-3]).repeat(40)
    tops = torch.where(torch.arange(200) % 3 == 0, 1.0, top_p)
    rows = logits, keys, torch.arange(200), temperature, tops
    tokens, logprobs = sample(*rows)
    left_out = []
    likely = sampler._likely

    def watched(*args: torch.Tensor) -> torch.Tensor | None:
        left_out.append(likely(*args) is not None)
        return likely(*args)

    monkeypatch.setattr(sampler, "LARGE_VOCABULARY", 1)
    monkeypatch.setattr(sampler, "_likely", watched)
    few, few_logprobs = sample(*rows)
    broken = [3, 4, 5, 6]
    assert logprobs[broken].isnan().all()
    assert few_logprobs[broken].isnan().all()
    well = [row for row in range(200) if row not in broken]
    assert few[well].equal(tokens[well])
    assert few_logprobs[well].equal(logprobs[well])
    assert left_out == [spread > 1]
