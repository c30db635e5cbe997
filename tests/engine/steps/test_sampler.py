"""Sampling depends on nothing but seed, problem, path, position and logits, and draws from the softmax."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from treereason.core import Sampling
from treereason.engine.steps import sampler
from treereason.engine.steps.sampler import NOISE_LIMIT, _cut, _gumbel, _log_total, branch_key, sample
from treereason.engine.steps.sampling_rows import Cuts, SamplingRows


def rows_of(*samplings: Sampling) -> SamplingRows:
    return SamplingRows.of(samplings)


def draw(logits: torch.Tensor, num: int, temperature: float = 1.0, **cuts: Any) -> torch.Tensor:
    keys = torch.tensor([branch_key(0, "p", (i,)) for i in range(num)])
    rows = rows_of(*[Sampling(temperature, **cuts)] * num)
    return sample(logits.expand(num, -1), keys, torch.zeros(num, dtype=torch.long), rows)[0]


def test_a_draw_does_not_depend_on_its_neighbours() -> None:
    logits = torch.randn(64, 100, generator=torch.Generator().manual_seed(0))
    keys = torch.tensor([branch_key(7, str(i), (i, 2)) for i in range(64)])
    positions = torch.arange(64)
    chosen = [Sampling(0.8, 0.9), Sampling(1.3, top_k=5), Sampling(0.8, 0.7, 9, 0.2), Sampling(1.0)] * 16
    together = sample(logits, keys, positions, rows_of(*chosen))[0]
    alone = [
        sample(logits[i : i + 1], keys[i : i + 1], positions[i : i + 1], rows_of(chosen[i]))[0].item()
        for i in range(64)
    ]
    assert together.tolist() == alone


def test_a_row_that_keeps_all_ids_keeps_them_beside_one_that_does_not() -> None:
    logits = torch.tensor([0.0, -20.0, -20.0]).expand(2, -1)  # in float32 the first probability is 1
    rows = rows_of(Sampling(1.0), Sampling(1.0, 0.9))
    kept = _cut(logits, logits.logsumexp(1, keepdim=True), rows).isfinite().tolist()
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


def test_top_k_keeps_so_many_and_of_equals_the_first() -> None:
    logits = torch.tensor([0.0, 2.0, 1.0, 1.0, 1.0])
    assert set(draw(logits, 2000, 3.0, top_k=3).tolist()) == {1, 2, 3}
    assert set(draw(logits, 200, 3.0, top_k=1).tolist()) == {1}
    assert draw(logits, 200, top_k=99).equal(draw(logits, 200))


def test_min_p_keeps_what_has_this_share_of_the_likeliest() -> None:
    logits = torch.log(torch.tensor([0.5, 0.26, 0.15, 0.09]))
    assert set(draw(logits, 2000, min_p=0.5).tolist()) == {0, 1}
    assert set(draw(logits, 2000, min_p=0.29).tolist()) == {0, 1, 2}
    assert set(draw(logits, 200, min_p=1.0).tolist()) == {0}


def test_the_nucleus_is_taken_of_what_top_k_keeps() -> None:
    logits = torch.log(torch.tensor([0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1]))
    assert set(draw(logits, 4000, top_p=0.55).tolist()) == {0, 1, 2}
    # 0.3 of 0.5 is 0.6: more than 0.55.
    assert set(draw(logits, 500, top_p=0.55, top_k=2).tolist()) == {0}


@pytest.mark.parametrize(
    "sampling", [{"top_p": 0.8}, {"top_k": 7}, {"min_p": 0.1}, {"top_k": 12, "top_p": 0.7, "min_p": 0.05}]
)
@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_what_is_kept_is_what_transformers_keeps(sampling: dict[str, Any], temperature: float) -> None:
    logits = torch.randn(50, 300, generator=torch.Generator().manual_seed(1)) * 3
    warpers: list[Any] = [TemperatureLogitsWarper(temperature)]
    if "top_k" in sampling:
        warpers.append(TopKLogitsWarper(sampling["top_k"]))
    if "top_p" in sampling:
        warpers.append(TopPLogitsWarper(sampling["top_p"]))
    if "min_p" in sampling:
        warpers.append(MinPLogitsWarper(sampling["min_p"]))
    want = logits
    for warper in warpers:
        want = warper(None, want)
    rows = rows_of(*[Sampling(temperature, **sampling)] * 50)
    divisor = rows.temperature[:, None]
    best = logits.topk(rows.cuts.most_k).values if rows.cuts.most_k else None
    kept = _cut(logits / divisor, _log_total(logits, divisor, best, rows.top_k), rows)
    assert kept.isfinite().equal(want.isfinite())


def test_a_row_that_says_that_nothing_is_cut_is_not_cut() -> None:
    logits = torch.randn(32, 20, generator=torch.Generator().manual_seed(0))
    half, whole = rows_of(*[Sampling(1.0, 0.5)] * 32), rows_of(*[Sampling(1.0)] * 32)
    given = logits, torch.arange(32), torch.arange(32)
    within, free = sample(*given, half)[0], sample(*given, whole)[0]
    assert not within.equal(free)
    assert sample(*given, replace(half, cuts=Cuts()))[0].equal(free)
    assert sample(*given, replace(whole, cuts=Cuts(True, 5)))[0].equal(free)


@pytest.mark.parametrize("temperature", [0.0, 1e-45, 1e-38, 1e-7])
def test_temperatures_of_zero_and_next_to_it_are_argmax(temperature: float) -> None:
    assert set(draw(torch.tensor([90.0, 100.0, 50.0]), 50, temperature=temperature).tolist()) == {1}


@pytest.mark.parametrize("other", [(1, "p", (0,)), (0, "q", (0,)), (0, "p", (1,)), (0, "p", (0, 0))])
def test_every_part_of_the_key_counts(other: tuple[int, str, tuple[int, ...]]) -> None:
    logits = torch.zeros(1, 10_000)
    keys = [branch_key(0, "p", (0,)), branch_key(*other)]
    rows = rows_of(Sampling(1.0))
    tokens = [sample(logits, torch.tensor([key]), torch.tensor([3]), rows)[0] for key in keys]
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
@pytest.mark.parametrize(
    "cuts",
    [{}, {"top_p": 0.95}, {"top_p": 0.3}, {"min_p": 0.3}, {"top_k": 20}, {"top_p": 0.9, "top_k": 9, "min_p": 0.01}],
)
def test_leaving_out_ids_that_cannot_be_drawn_changes_no_draw(
    spread: float, cuts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 500, generator=generator) * spread
    logits[:, ::7] = float("-inf")
    logits[3, 5] = logits[4, 6] = float("nan")
    logits[5, 7] = float("inf")
    logits[6] = float("-inf")
    keys = torch.randint(-(2**60), 2**60, (200,), generator=generator)
    temperatures = [0.0, 0.7, 1.0, 2.0, 1e-3]
    rows = rows_of(*[Sampling(temperatures[i % 5], **({} if i % 3 == 0 else cuts)) for i in range(200)])
    given = logits, keys, torch.arange(200), rows
    tokens, logprobs = sample(*given)
    left_out = []
    ids_from = sampler._ids_from

    def watched(*args: torch.Tensor) -> torch.Tensor | None:
        left_out.append(ids_from(*args) is not None)
        return ids_from(*args)

    monkeypatch.setattr(sampler, "LARGE_VOCABULARY", 1)
    monkeypatch.setattr(sampler, "_ids_from", watched)
    few, few_logprobs = sample(*given)
    broken = [3, 4, 5, 6]
    assert logprobs[broken].isnan().all()
    assert few_logprobs[broken].isnan().all()
    well = [row for row in range(200) if row not in broken]
    assert few[well].equal(tokens[well])
    assert few_logprobs[well].equal(logprobs[well])
    assert left_out == [spread > 1]
