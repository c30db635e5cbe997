"""Norm, gate and rotation in one launch each equal the modules' own operations: interpreted on a CPU, or on a GPU.

tests/conftest.py asks for the interpreter. Without it (`make gpu`) this file needs a GPU.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("triton")

from tests.kernels.interpreter_rounding import round_bfloat16
from treereason.kernels.gpu.rms_norm import MOST_COLUMNS, add_rms_norm, rms_norm
from treereason.kernels.gpu.rope_store import rope_store
from treereason.kernels.gpu.silu_mul import silu_mul
from treereason.kernels.norm_form import NormForm

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
if not INTERPRETED:
    pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")]

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# Two roundings of the dtype, each of which the last bit of a float32 sum may tip; float32 has the errors of the sum,
# and of an exponential on a GPU.
TOLERANCE = {torch.float32: 5e-6, torch.bfloat16: 2**-6, torch.float16: 2**-9}
FORMS = {"llama": NormForm(), "olmo2": NormForm(late_cast=True), "gemma": NormForm(late_cast=True, one_more=True)}


@pytest.fixture(autouse=True)
def _empty_is_poisoned(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a kernel forgets to write is NaN."""
    real_empty = torch.empty

    def poisoned(*args: Any, **kwargs: Any) -> torch.Tensor:
        return real_empty(*args, **kwargs).fill_(float("nan"))

    monkeypatch.setattr(torch, "empty", poisoned)
    with np.errstate(all="ignore"):
        yield


@pytest.fixture(autouse=True)
def _bfloat16_is_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    if INTERPRETED:
        round_bfloat16(monkeypatch)


def random(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator).to(DEVICE, dtype)


def check(got: torch.Tensor, want: torch.Tensor) -> None:
    assert got.dtype == want.dtype
    assert got.is_contiguous()
    torch.testing.assert_close(got, want, rtol=TOLERANCE[want.dtype], atol=TOLERANCE[want.dtype] * 1e-3)


def module_norm(x: torch.Tensor, weight: torch.Tensor, eps: float, form: NormForm) -> torch.Tensor:
    """As transformers computes it, operation by operation."""
    rows = x.float()
    rows = rows * torch.rsqrt(rows.pow(2).mean(-1, keepdim=True) + eps)
    if form.one_more:
        return (rows * (1.0 + weight.float())).to(x.dtype)
    return (weight * rows).to(x.dtype) if form.late_cast else weight * rows.to(x.dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(1, 1, 64), (1, 7, 100), (1, 3, 5, 16), (2, 4100), (1, 1)], ids=str)
def test_a_norm_equals_the_module(form: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x, weight = random(*shape, dtype=dtype), random(shape[-1], dtype=dtype, seed=1)
    residual = random(*shape, dtype=dtype, seed=2)
    check(rms_norm(x, weight, 1e-5, FORMS[form]), module_norm(x, weight, 1e-5, FORMS[form]))
    out, total = add_rms_norm(x, residual, weight, 1e-5, FORMS[form])
    assert torch.equal(total, residual + x)
    check(out, module_norm(residual + x, weight, 1e-5, FORMS[form]))


def test_a_norm_of_rows_with_any_stride_leaves_what_lies_beside_them() -> None:
    wide, weight = random(9, 3, 48), random(32, seed=1)
    x, residual = wide[:, 1, 8:40], wide[:, 2, :32]
    check(rms_norm(x, weight, 1e-6), module_norm(x, weight, 1e-6, FORMS["llama"]))
    out, _ = add_rms_norm(x, residual, weight, 1e-6)
    check(out, module_norm(residual + x, weight, 1e-6, FORMS["llama"]))
    torch.testing.assert_close(wide, random(9, 3, 48), atol=0, rtol=0)


@pytest.mark.parametrize("width", [64, 100, 4096])
def test_the_bits_of_a_normed_row_do_not_depend_on_the_rows_beside_it(width: int) -> None:
    x, weight = random(70, width, dtype=torch.bfloat16), random(width, dtype=torch.bfloat16, seed=1)
    together = rms_norm(x, weight, 1e-6)
    for row in (0, 33, 69):
        assert torch.equal(rms_norm(x[row : row + 1].clone(), weight, 1e-6)[0], together[row])


def test_a_row_of_zeros_and_one_of_huge_numbers_stay_finite_as_in_the_module() -> None:
    x = torch.stack([torch.zeros(64), torch.full((64,), 3e18), torch.full((64,), 1e-30)]).to(DEVICE)
    weight = random(64, seed=1)
    check(rms_norm(x, weight, 1e-6), module_norm(x, weight, 1e-6, FORMS["llama"]))


def test_a_norm_refuses_rows_that_it_cannot_hold() -> None:
    with pytest.raises(ValueError, match=r"16,385 elements"):
        rms_norm(torch.ones(1, MOST_COLUMNS + 1), torch.ones(MOST_COLUMNS + 1), 1e-6)
    with pytest.raises(ValueError, match="contiguous"):
        rms_norm(random(4, 8).T[:, ::2], torch.ones(2), 1e-6)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 96), (1, 5, 1030), (3, 2048), (1, 1)], ids=str)
def test_a_gate_equals_the_modules(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    gate, up = 4 * random(*shape, dtype=dtype), random(*shape, dtype=dtype, seed=1)
    check(silu_mul(gate, up), torch.nn.functional.silu(gate) * up)


def test_a_gate_takes_halves_of_one_tensor_and_any_size_of_number() -> None:
    both = random(4, 2, 40)
    both[0, 0, :6] = torch.tensor([float("inf"), -100.0, 100.0, -1e30, 1e30, 0.0])
    check(silu_mul(both[:, 0], both[:, 1]), torch.nn.functional.silu(both[:, 0]) * both[:, 1])
    for other in (random(4, 41), random(4, 40, dtype=torch.float16)):
        with pytest.raises(ValueError, match="up"):
            silu_mul(both[:, 0], other)
    with pytest.raises(ValueError, match="contiguous"):
        silu_mul(both[0].T, both[1].T)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """As transformers computes it. x: [N, H, D]; cos, sin: [N, D]."""
    low, high = x.chunk(2, dim=-1)
    return x * cos[:, None] + torch.cat((-high, low), dim=-1) * sin[:, None]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("num_rows", "heads", "head_dim"), [(1, (4, 2), 16), (6, (9, 3), 80), (5, (12, 12), 128), (3, (8, 1), 2)]
)
def test_rotated_queries_and_stored_keys_have_the_modules_bits(
    num_rows: int, heads: tuple[int, int], head_dim: int, dtype: torch.dtype
) -> None:
    num_heads, num_kv_heads = heads
    # As the projections give them, one behind the other in a row.
    whole = random(num_rows, (num_heads + 2 * num_kv_heads) * head_dim + 6, dtype=dtype)
    heads_of = whole[:, : (num_heads + 2 * num_kv_heads) * head_dim].view(num_rows, -1, head_dim)
    q, k, v = heads_of.tensor_split((num_heads, num_heads + num_kv_heads), dim=1)
    cos, sin = random(num_rows, head_dim, dtype=dtype, seed=1), random(num_rows, head_dim, dtype=dtype, seed=2)
    k_pool, v_pool = (torch.zeros(num_kv_heads, 9, head_dim, dtype=dtype, device=DEVICE).transpose(0, 1) for _ in "kv")
    slots = torch.tensor([7, -1, 0, 3, 8, 4], dtype=torch.int32, device=DEVICE)
    got = rope_store(q, k, v, cos, sin, k_pool, v_pool, slots)
    assert got.is_contiguous()
    assert torch.equal(got, rotate(q, cos, sin))
    want_k, want_v = torch.zeros_like(k_pool), torch.zeros_like(v_pool)
    rows = [row for row in range(num_rows) if slots[row] >= 0]
    want_k[slots[rows].long()] = rotate(k, cos, sin)[rows]
    want_v[slots[rows].long()] = v[rows]
    assert torch.equal(k_pool, want_k)
    assert torch.equal(v_pool, want_v)


def test_a_rotation_refuses_angles_of_another_size() -> None:
    q, pool = random(2, 2, 16), torch.zeros(4, 2, 16, device=DEVICE)
    slots = torch.zeros(2, dtype=torch.int32, device=DEVICE)
    for cos in (random(2, 8), random(3, 16)):
        with pytest.raises(ValueError, match="do not fit"):
            rope_store(q, q, q, cos, cos, pool, pool, slots)
    with pytest.raises(ValueError, match="do not fit"):
        rope_store(q[..., :15], q[..., :15], q[..., :15], random(2, 15), random(2, 15), pool, pool, slots)
