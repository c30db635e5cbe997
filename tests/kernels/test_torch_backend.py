"""Tree attention on torch equals its definition, on random forests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lanes import slow
from treereason.kernels.cpu import batch, torch_backend
from treereason.kernels.cpu.torch_backend import TorchBackend
from treereason.kernels.options import AttentionOptions
from treereason.kernels.plan import Plan, kv_pool, make_plan
from treereason.kernels.reference import reference_attention

PAGE = 16
TOLERANCE = {torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2}


def random_plan(rng: np.random.Generator, num_nodes: int, max_tokens: int, extend: bool) -> Plan:
    """A forest in depth-first order whose leaves (and, when `extend`, any node) hold new tokens."""
    parent = [-1]
    for node in range(1, num_nodes):
        path = [node - 1]
        while path[-1] >= 0:
            path.append(parent[path[-1]])
        parent.append(int(rng.choice(path)))
    is_leaf = [node not in parent for node in range(num_nodes)]
    tokens = rng.integers(0, max_tokens + 1, num_nodes)
    new = np.zeros(num_nodes, dtype=np.int64)
    for node in range(num_nodes):
        if is_leaf[node]:
            tokens[node] = max(1, tokens[node])
            new[node] = rng.integers(1, tokens[node] + 1) if extend else 1
        elif extend:
            new[node] = rng.integers(0, tokens[node] + 1)
    start = np.zeros(num_nodes, dtype=np.int64)
    subtree_end = np.arange(1, num_nodes + 1)
    for node in range(num_nodes):
        if parent[node] >= 0:
            start[node] = start[parent[node]] + tokens[parent[node]]
    for node in reversed(range(num_nodes)):
        if parent[node] >= 0:
            subtree_end[parent[node]] = max(subtree_end[parent[node]], subtree_end[node])
    num_pages = -(-tokens // PAGE)
    page_offset = np.concatenate([[0], np.cumsum(num_pages)])
    pages = rng.permutation(int(num_pages.sum()) + 3)[: int(num_pages.sum())]
    i32 = [np.asarray(a, dtype=np.int32) for a in (start, tokens, new, subtree_end, pages, page_offset)]
    return make_plan(
        start=i32[0],
        tokens=i32[1],
        new_tokens=i32[2],
        subtree_end=i32[3],
        pages=i32[4],
        page_offset=i32[5],
        page_size=PAGE,
    )


@given(
    seed=st.integers(0, 2**32 - 1),
    num_nodes=st.integers(1, 40),
    max_tokens=st.sampled_from([1, 15, 63, 200]),
    extend=st.booleans(),
    heads=st.sampled_from([(4, 4), (4, 2), (7, 1), (8, 2)]),
    window=st.sampled_from([None, 1, 7, 50]),
    softcap=st.sampled_from([None, 0.5]),
    sinks=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    bytes_at_once=st.sampled_from([1, 1 << 21]),
)
def compare(
    seed: int,
    num_nodes: int,
    max_tokens: int,
    extend: bool,
    heads: tuple[int, int],
    window: int | None,
    softcap: float | None,
    sinks: bool,
    dtype: torch.dtype,
    bytes_at_once: int,
) -> None:
    rng = np.random.default_rng(seed)
    plan = random_plan(rng, num_nodes, max_tokens, extend)
    generator = torch.Generator().manual_seed(seed)
    num_slots = (int(plan.pages.max()) + 1) * PAGE
    used = torch.from_numpy(np.concatenate([plan.slots(node) for node in range(plan.num_nodes)])).long()
    k, v = (kv_pool(num_slots, heads[1], 32, dtype=dtype).fill_(float("nan")) for _ in range(2))
    for pool in (k, v):
        pool[used] = torch.randn(len(used), heads[1], 32, generator=generator).to(dtype)
    q = torch.randn(plan.num_rows, heads[0], 32, generator=generator).to(dtype)
    sink_logits = torch.randn(heads[0], generator=generator) if sinks else None
    options = AttentionOptions(0.3, window, softcap, sink_logits)
    want, want_lse = reference_attention(plan, q.float(), k.float(), v.float(), options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "GATHERED_BYTES", bytes_at_once)
        for module in (batch, torch_backend):
            patch.setattr(module, "SCORE_BYTES", bytes_at_once)
        if seed % 2:  # else small plans are gathered path by path
            patch.setattr(torch_backend, "GATHERED_SLOTS", 0)
        got, got_lse = TorchBackend(plan)(q, k, v, options)
    assert got.dtype == dtype
    error = TOLERANCE[dtype]
    torch.testing.assert_close(got.float(), want, atol=error, rtol=error)
    torch.testing.assert_close(got_lse, want_lse, atol=error, rtol=error)


@pytest.mark.parametrize("number", [12, *slow(250)])
def test_torch_backend_equals_reference(number: int) -> None:
    settings(deadline=None, max_examples=number)(compare)()


@pytest.mark.parametrize("removed", ["window", "softcap", "sinks"])
def test_each_feature_changes_the_result(removed: str) -> None:
    plan = random_plan(np.random.default_rng(0), 12, 60, False)
    num_slots = (int(plan.pages.max()) + 1) * PAGE
    k, v = (kv_pool(num_slots, 2, 32, dtype=torch.float32) for _ in range(2))
    for pool in (k, v):
        pool.normal_(generator=torch.Generator().manual_seed(1))
    q = torch.randn(plan.num_rows, 4, 32, generator=torch.Generator().manual_seed(2))
    options = AttentionOptions(0.3, window=5, softcap=0.5, sinks=torch.ones(4))
    off: dict[str, Any] = {removed: None}
    full, _ = TorchBackend(plan)(q, k, v, options)
    without, _ = TorchBackend(plan)(q, k, v, replace(options, **off))
    assert (full - without).abs().max() > 1e-2
