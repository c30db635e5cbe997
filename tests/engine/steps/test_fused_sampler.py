"""The sampling kernels draw what the sampler on torch operations draws: under Triton's interpreter, or on a GPU.

tests/conftest.py asks for the interpreter. Without it (`make gpu`) this file needs a GPU.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("triton")

import triton
import triton.language as tl

from tests.lanes import slow
from treereason.core import Sampling
from treereason.engine.steps import sampler
from treereason.engine.steps.sampler import sample, sample_by_torch
from treereason.engine.steps.sampling_rows import SamplingRows
from treereason.engine.steps.step_buffers import StepBuffers
from treereason.kernels.gpu import sample as kernels
from treereason.kernels.gpu.noise import NOISE_LIMIT, bits_of_ids, gumbel, gumbel_bound, mix, uniform_of_bits

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cpu" if INTERPRETED else "cuda")
if not INTERPRETED:
    pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")]

NUM_NOISES = 1 << 23
ALL = Sampling(0.7)
# No share of these is a sum of equal shares of the vocabularies below: sums in another order round differently there.
MIXED = [
    Sampling(0.9, top_p=0.8123),
    Sampling(1.0),
    Sampling(0.7, top_k=4),
    Sampling(2.0, min_p=0.2),
    Sampling(0.0, top_p=0.5),
    Sampling(1.0, 0.7123, 9, 0.05),
    Sampling(1.5, top_p=0.1234),
    Sampling(0.0),
]


@pytest.fixture(autouse=True)
def _kernels_are_used_and_take_torchs_logarithm(monkeypatch: pytest.MonkeyPatch) -> None:
    """numpy's logarithm, which the interpreter calls, rounds a third of the noises differently from torch's."""
    if not INTERPRETED:
        return
    from triton.runtime.interpreter import InterpreterBuilder

    def log(values: np.ndarray) -> np.ndarray:
        return torch.from_numpy(np.ascontiguousarray(values)).log().numpy()

    monkeypatch.setattr(InterpreterBuilder, "create_log", lambda self, arg: self.unary_op(arg, log))
    monkeypatch.setattr(sampler, "_has_kernels", lambda _: True)
    # Many rows a program: the interpreter's time goes by operations, not by elements.
    monkeypatch.setattr(kernels, "SMALL_TILE", 1 << 20)


def rows_of(samplings: list[Sampling], num_rows: int) -> SamplingRows:
    return SamplingRows.of([samplings[i % len(samplings)] for i in range(num_rows)], DEVICE)


def places(num_rows: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and positions."""
    generator = torch.Generator().manual_seed(seed)
    keys = torch.randint(-(2**63), 2**63 - 1, (num_rows,), generator=generator)
    return keys.to(DEVICE), torch.arange(num_rows, device=DEVICE) * 7


def noisy(num_rows: int, num_ids: int, spread: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(num_ids)
    return (torch.randn(num_rows, num_ids, generator=generator) * spread).to(dtype).to(DEVICE)


def check_equal(logits: torch.Tensor, rows: SamplingRows, seed: int = 0) -> torch.Tensor:
    """The tokens, which are those of torch; log-probabilities are to a few roundings of their sums."""
    given = logits, *places(len(logits), seed), rows
    with np.errstate(all="ignore"):
        tokens, logprobs = sample(*given)
    want, want_logprobs = sample_by_torch(*given)
    assert tokens.dtype == torch.int64
    assert logprobs.dtype == torch.float32
    sound = ~want_logprobs.isnan()
    assert tokens[sound].equal(want[sound])
    assert ((tokens >= 0) & (tokens < logits.shape[1])).all()
    torch.testing.assert_close(logprobs, want_logprobs, atol=1e-5, rtol=1e-6, equal_nan=True)
    return tokens


@triton.jit  # type: ignore[untyped-decorator]
def noise_kernel(uniforms, noises, bounds, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    bits = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    uniform = uniform_of_bits(bits)
    tl.store(uniforms + bits, uniform)
    tl.store(noises + bits, gumbel(uniform))
    tl.store(bounds + bits, gumbel_bound(uniform))


@cache
def all_noises() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """[2^23] each: uniforms, noises and their bounds."""
    found = torch.empty(3, NUM_NOISES, device=DEVICE)
    block = 1 << 17 if INTERPRETED else 1024
    noise_kernel[(NUM_NOISES // block,)](found[0], found[1], found[2], BLOCK=block)
    return found[0], found[1], found[2]


def test_each_of_the_noises_has_the_bits_of_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "_mix", lambda x: x << 41)  # an id's hash is the id
    zero = torch.zeros(1, dtype=torch.int64, device=DEVICE)
    want = sampler._gumbel(zero, zero, torch.arange(NUM_NOISES, device=DEVICE)[None])[0]
    uniforms, noises, _ = all_noises()
    assert uniforms.double().equal((2 * torch.arange(NUM_NOISES, device=DEVICE).double() + 1) * 2.0**-24)
    assert (noises != want).count_nonzero() == 0
    assert noises.max() < NOISE_LIMIT.value
    assert NOISE_LIMIT.value == sampler.NOISE_LIMIT


def test_the_bound_of_a_noise_is_above_it_and_near_where_noise_decides() -> None:
    _, noises, bounds = all_noises()
    assert (bounds >= noises + 1e-4).all()
    assert (bounds - noises)[noises > 3].max() < 0.09


@triton.jit  # type: ignore[untyped-decorator]
def bits_kernel(keys, positions, bits, num_ids, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0)
    key = tl.load(keys + row).to(tl.uint64)
    hashed = mix(mix(key) + tl.load(positions + row).to(tl.uint64))
    ids = tl.arange(0, BLOCK)[None, :]
    tl.store(bits + row * num_ids + ids, bits_of_ids(hashed, ids), mask=ids < num_ids)


def test_the_hash_wraps_around_as_torchs_does() -> None:
    keys = torch.tensor([0, 1, -1, 2**63 - 1, -(2**63), 1 << 41, 123456789012345], device=DEVICE)
    positions = torch.tensor([0, 1, 2**40, 5, 7, 2**31, 2**63 - 1], device=DEVICE)
    bits = torch.empty(7, 1000, dtype=torch.int32, device=DEVICE)
    with np.errstate(all="ignore"):
        bits_kernel[(7,)](keys, positions, bits, 1000, BLOCK=1024)
    noises = sampler._gumbel(keys, positions, torch.arange(1000, device=DEVICE).expand(7, -1))
    assert all_noises()[1][bits.long()].equal(noises)
    assert len(set(bits.flatten().tolist())) > 6900


@pytest.mark.parametrize("samplings", [[ALL], MIXED], ids=["all", "cuts"])
@pytest.mark.parametrize(
    ("dtype", "num_rows", "num_ids", "spread"),
    [
        (torch.float32, 1, 1, 1.0),
        (torch.float16, 33, 100, 0.0),
        (torch.bfloat16, 65, 1025, 1.0),
        *slow((torch.float32, 70, 300, 4.0), (torch.float16, 5, 3, 2.0), (torch.bfloat16, 64, 1024, 6.0)),
    ],
    ids=str,
)
def test_tokens_are_those_of_torch(
    dtype: torch.dtype, num_rows: int, num_ids: int, spread: float, samplings: list[Sampling]
) -> None:
    check_equal(noisy(num_rows, num_ids, spread, dtype), rows_of(samplings, num_rows))


def test_several_parts_of_a_vocabulary_in_programs_of_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "SMALL_TILE", 1)
    monkeypatch.setattr(kernels, "BLOCK", 64)
    monkeypatch.setattr(kernels, "IDS_PER_PART", 256)
    for samplings in ([ALL, Sampling(0.0)], MIXED[:1] + MIXED[5:6]):
        check_equal(noisy(2, 1_003, 2.0, torch.bfloat16), rows_of(samplings, 2))


EXTREME = [Sampling(0.0), Sampling(1e-6), Sampling(1e-3), Sampling(30.0)]
EXTREME_CUTS = [
    Sampling(1.0, top_p=1e-9),
    Sampling(1.0, top_p=0.99999),
    Sampling(1.0, top_k=1),
    Sampling(1.0, top_k=10**6),
    Sampling(1.0, min_p=1.0),
    Sampling(3.0, top_k=50, top_p=0.9123),
]


@pytest.mark.parametrize("samplings", [EXTREME, EXTREME_CUTS], ids=["all", "cuts"])
def test_extreme_samplings_are_drawn_as_by_torch(samplings: list[Sampling]) -> None:
    num_rows = 80 * len(samplings)
    check_equal(noisy(num_rows, 300, 3.0, torch.bfloat16), rows_of(samplings, num_rows))


@pytest.mark.parametrize("samplings", [[ALL], MIXED[2:4]], ids=["all", "cuts"])
def test_few_rows_of_a_huge_vocabulary(samplings: list[Sampling], monkeypatch: pytest.MonkeyPatch) -> None:
    if INTERPRETED:
        monkeypatch.setattr(kernels, "BLOCK", 1 << 16)
        monkeypatch.setattr(kernels, "IDS_PER_PART", 1 << 17)
    check_equal(noisy(2, 262_147, 2.5, torch.bfloat16), rows_of(samplings, 2))


def test_a_likely_block_lets_others_be_passed_over_and_changes_no_draw() -> None:
    logits = noisy(9, 3_000, 1.0)
    for row, peak in enumerate((0, 1_500, 2_999) * 3):
        logits[row, peak] = 14.0  # more than the reach of noise above the blocks of some rows, less above others
    tokens = check_equal(logits, rows_of([Sampling(0.4)] * 3 + [Sampling(1.0)] * 3 + [Sampling(3.0)] * 3, 9))
    assert tokens.tolist()[:3] == [0, 1_500, 2_999]


def test_of_equals_the_smallest_id_wins() -> None:
    logits = torch.zeros(3, 3_000, dtype=torch.bfloat16, device=DEVICE)
    logits[1, 1_000:] = 1.0
    logits[2, 2_500] = logits[2, 2_600] = 2.0
    assert check_equal(logits, rows_of([Sampling(0.0)], 3)).tolist() == [0, 1_000, 2_500]
    assert check_equal(-logits.abs() - 0.0, rows_of([Sampling(0.0)], 3)).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("samplings", "num_ids"),
    [
        ([ALL], 1_100),
        ([Sampling(0.0)], 50),
        (MIXED, 1_100),
        *slow(([ALL], 50), ([Sampling(0.0)], 1_100), (MIXED, 50)),
    ],
    ids=str,
)
def test_rows_without_a_distribution_say_so_and_disturb_no_other(samplings: list[Sampling], num_ids: int) -> None:
    logits = noisy(16, num_ids, 1.0)
    logits[::3, ::7] = float("-inf")
    for row, value in ((1, "nan"), (4, "inf"), (7, "nan"), (10, "-inf")):
        logits[row, num_ids // 2] = float(value)
    logits[7, 3] = float("inf")
    logits[13] = float("-inf")
    logits[14, 1:] = float("-inf")
    given = logits, *places(16), rows_of(samplings, 16)
    tokens = check_equal(logits, given[-1])
    with np.errstate(all="ignore"):
        logprobs = sample(*given)[1]
    assert logprobs.isnan().nonzero()[:, 0].tolist() == [1, 4, 7, 13]
    assert tokens[14] == 0
    assert logprobs[14] == 0


def test_columns_of_buffers_and_rows_of_wider_arrays_are_read_in_place() -> None:
    buffers = StepBuffers(8, DEVICE)
    buffers.place(list(range(-4, 4)), MIXED)
    buffers.send(list(range(8)), list(range(8)), 8)
    _, positions, keys = buffers.inputs(8)
    wide = noisy(8, 400, 2.0)
    for logits in (wide[:, :300], wide[:, 100:], wide[:, ::2], noisy(300, 8, 2.0).T):
        given = logits, keys, positions + 1, buffers.sampling(8, rows_of(MIXED, 8).cuts)
        with np.errstate(all="ignore"):
            assert sample(*given)[0].equal(sample_by_torch(*given)[0])


def test_bits_depend_neither_on_the_run_nor_on_other_rows() -> None:
    logits = noisy(16, 1_200, 3.0, torch.bfloat16)
    keys, positions = places(16)
    with np.errstate(all="ignore"):
        both = [sample(logits, keys, positions, rows_of(MIXED, 16)) for _ in range(2)]
        some = sample(logits[5:8], keys[5:8], positions[5:8], rows_of(MIXED[5:8], 3))
    for first, second, part in zip(both[0], both[1], some, strict=True):
        assert first.equal(second)
        assert first[5:8].equal(part)


UNCUT = [ALL, Sampling(1.3), Sampling(0.0)]


@pytest.mark.parametrize(
    ("samplings", "num_draws"),
    [
        (UNCUT, 50_000),
        (MIXED, 10_000),
        pytest.param(UNCUT, 1_000_000, marks=pytest.mark.slow),
        pytest.param(MIXED, 1_000_000, marks=pytest.mark.slow),
    ],
    ids=["all", "cuts", "a million of all", "a million with cuts"],
)
def test_many_draws_are_those_of_torch(samplings: list[Sampling], num_draws: int) -> None:
    num_rows = min(num_draws, 50_000)
    rows = rows_of(samplings, num_rows)
    seen: set[int] = set()
    for seed in range(num_draws // num_rows):
        generator = torch.Generator().manual_seed(seed)
        logits = (torch.randn(num_rows, 29, generator=generator) * 2).to(torch.bfloat16).to(DEVICE)
        seen |= set(check_equal(logits, rows, seed).tolist())
    assert len(seen) == 29


def test_only_a_gpu_draws_by_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert [sampler._has_kernels(torch.device(name)) for name in ("cuda", "cpu", "meta")] == [True, False, False]

    def none(*_: Any) -> None:
        return None

    monkeypatch.setattr(sampler, "find_spec", none)
    assert not sampler._has_kernels(torch.device("cuda"))
