"""Tree attention in C++ equals its definition, on random forests, where a compiler is at hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.forests import Forest
from tests.kernels.test_torch_backend import PAGE, random_plan
from tests.lanes import slow
from treereason.kernels.cpu import library
from treereason.kernels.cpu.compiled_backend import CompiledBackend, can_attend
from treereason.kernels.options import AttentionOptions
from treereason.kernels.plan import Plan, kv_pool
from treereason.kernels.reference import reference_attention
from treereason.kernels.rotation import rotated

try:
    library.prepare()
except library.CannotCompile as error:
    pytest.skip(str(error), allow_module_level=True)

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 4e-2}
Pools = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def tensors(plan: Plan, heads: tuple[int, int], head_dim: int, dtype: torch.dtype, seed: int = 0) -> Pools:
    """Queries, and pools of keys and values that are NaN where nothing is stored."""
    generator = torch.Generator().manual_seed(seed)
    used = torch.from_numpy(np.concatenate([plan.slots(node) for node in range(plan.num_nodes)])).long()
    num_slots = (int(plan.pages.max()) + 1) * PAGE
    k, v = (kv_pool(num_slots, heads[1], head_dim, dtype=dtype).fill_(float("nan")) for _ in range(2))
    for pool in (k, v):
        pool[used] = torch.randn(len(used), heads[1], head_dim, generator=generator).to(dtype)
    return torch.randn(plan.num_rows, heads[0], head_dim, generator=generator).to(dtype), k, v


def check(plan: Plan, data: Pools, options: AttentionOptions) -> None:
    got, got_lse = CompiledBackend(plan)(*data, options)
    q, k, v = (x.float() for x in data)
    want, want_lse = reference_attention(plan, q, k, v, options)
    assert got.dtype == data[0].dtype
    error = TOLERANCE[got.dtype]
    torch.testing.assert_close(got.float(), want, atol=error, rtol=error)
    torch.testing.assert_close(got_lse, want_lse, atol=error, rtol=error)


@given(
    seed=st.integers(0, 2**32 - 1),
    num_nodes=st.integers(1, 40),
    max_tokens=st.sampled_from([1, 15, 63, 200]),
    extend=st.booleans(),
    heads=st.sampled_from([(4, 4), (4, 2), (7, 1), (8, 2)]),
    head_dim=st.sampled_from([32, 64, 96, 128]),
    window=st.sampled_from([None, 1, 7, 50]),
    softcap=st.sampled_from([None, 0.5]),
    sinks=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    num_threads=st.sampled_from([1, 2]),
)
def compare(
    seed: int,
    num_nodes: int,
    max_tokens: int,
    extend: bool,
    heads: tuple[int, int],
    head_dim: int,
    window: int | None,
    softcap: float | None,
    sinks: bool,
    dtype: torch.dtype,
    num_threads: int,
) -> None:
    plan = random_plan(np.random.default_rng(seed), num_nodes, max_tokens, extend)
    generator = torch.Generator().manual_seed(seed)
    sink_logits = torch.randn(heads[0], generator=generator) if sinks else None
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        check(plan, tensors(plan, heads, head_dim, dtype, seed), AttentionOptions(0.3, window, softcap, sink_logits))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("number", [25, *slow(250)])
def test_compiled_attention_equals_the_reference(number: int) -> None:
    settings(deadline=None, max_examples=number)(compare)()


def some_plan(extend: bool = False) -> Plan:
    return random_plan(np.random.default_rng(0), 12, 60, extend)


@pytest.mark.parametrize("removed", ["window", "softcap", "sinks"])
def test_each_feature_changes_the_result(removed: str) -> None:
    plan = some_plan()
    data = tensors(plan, (4, 2), 32, torch.float32)
    options = AttentionOptions(0.3, window=5, softcap=0.5, sinks=torch.ones(4))
    off: dict[str, Any] = {removed: None}
    full, _ = CompiledBackend(plan)(*data, options)
    without, _ = CompiledBackend(plan)(*data, replace(options, **off))
    assert (full - without).abs().max() > 1e-2


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_new_keys_are_rotated_and_stored_before_they_are_read(dtype: torch.dtype) -> None:
    plan = some_plan(extend=True)
    q, k, v = tensors(plan, (4, 2), 64, dtype)
    slots = torch.from_numpy(plan.row_slot).long()
    new_k, new_v = torch.randn(2, plan.num_rows, 2, 64, generator=torch.Generator().manual_seed(3)).to(dtype)
    angles = torch.from_numpy(plan.row_position)[:, None] * 10000.0 ** (-torch.arange(0, 64, 2) / 64)
    cos, sin = (f(torch.cat([angles, angles], dim=1)).to(dtype) for f in (torch.cos, torch.sin))
    options = AttentionOptions(0.125)
    got_k, got_v = k.clone(), v.clone()
    got = CompiledBackend(plan).attend(q, got_k, got_v, options, new=(new_k, new_v), rotation=(cos, sin))
    k[slots], v[slots] = rotated(new_k.float(), cos.float(), sin.float()).to(dtype), new_v
    error = TOLERANCE[dtype]
    torch.testing.assert_close(got_k, k, atol=error, rtol=error, equal_nan=True)
    assert torch.equal(got_v.nan_to_num(), v.nan_to_num())
    turned = rotated(q.float(), cos.float(), sin.float())
    want, _ = reference_attention(plan, turned, k.float(), v.float(), options)
    torch.testing.assert_close(got.float(), want, atol=error, rtol=error)


def test_scores_of_any_size_give_finite_results() -> None:
    plan = some_plan()
    q, k, v = tensors(plan, (4, 2), 32, torch.float32)
    for size in (1e-3, 1.0, 300.0):
        check(plan, (q, k * size, v), AttentionOptions(0.3))
    got, _ = CompiledBackend(plan)(q, k * 1e12, v, AttentionOptions(0.3))
    assert got.isfinite().all()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_a_node_that_is_split_at_a_page_changes_no_bits(dtype: torch.dtype) -> None:
    # What else is in the forest decides where nodes are split.
    tokens = [6 * PAGE + 5, 7 * PAGE + 3, 2 * PAGE + 1]
    whole = Forest([-1, 0, 0], tokens, [0, 9, 1])
    parts = Forest([-1, 0, 1, 2, 2], [3 * PAGE, 2 * PAGE, PAGE + 5, *tokens[1:]], [0, 0, 0, 9, 1])
    data = tensors(whole.plan(), (6, 2), 64, dtype)
    for scale in (0.02, 0.3, 3.0):
        found = [CompiledBackend(forest.plan())(*data, AttentionOptions(scale))[0] for forest in (whole, parts)]
        assert torch.equal(*found)


def test_what_is_not_a_number_stays_so() -> None:
    plan = some_plan()
    q, k, v = tensors(plan, (4, 2), 32, torch.float32)
    q[3, 1] = float("nan")
    got, _ = CompiledBackend(plan)(q, k, v, AttentionOptions(0.3))
    assert got[3, 1].isnan().all()
    got[3, 1] = 0
    assert got.isfinite().all()


def test_one_thread_and_several_give_the_same_bits_for_a_plan_cut_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = some_plan()
    data = tensors(plan, (4, 2), 32, torch.float32)
    monkeypatch.setattr("treereason.kernels.cpu.compiled_backend.BLOCK_QUERIES", 1)  # a row a block, always
    found = []
    for num_threads in (1, 2, 4):
        monkeypatch.setattr(torch, "get_num_threads", lambda number=num_threads: number)
        found.append(CompiledBackend(plan)(*data, AttentionOptions(0.3))[0])
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_heads_that_do_not_fill_vectors_are_left_to_torch() -> None:
    assert can_attend(torch.float32, 64)
    assert not can_attend(torch.float32, 80)
    assert not can_attend(torch.float16, 64)


def test_heads_of_another_size_are_refused_by_the_backend() -> None:
    plan = some_plan()
    with pytest.raises(ValueError, match="heads of 40 in"):
        CompiledBackend(plan)(*tensors(plan, (4, 2), 40, torch.float32), AttentionOptions(0.3))
