"""The repeatable backend: equal to the definition, and a branch has the same bits alone and beside others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.forests import Forest, random_forest, several, star
from treereason.kernels.cpu.invariant_backend import InvariantBackend
from treereason.kernels.cpu.torch_backend import TorchBackend
from treereason.kernels.options import AttentionOptions
from treereason.kernels.plan import Plan, kv_pool
from treereason.kernels.reference import reference_attention


def pools(plan: Plan, num_kv_heads: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values, NaN wherever the plan stores nothing."""
    used = torch.from_numpy(np.concatenate([plan.slots(node) for node in range(plan.num_nodes)])).long()
    num_slots = (int(plan.pages.max()) + 1) * plan.page_size
    made = []
    for seed in (1, 2):
        pool = kv_pool(num_slots, num_kv_heads, 32, dtype=torch.float32).fill_(float("nan"))
        pool[used] = torch.randn(len(used), num_kv_heads, 32, generator=torch.Generator().manual_seed(seed))
        made.append(pool)
    return made[0], made[1]


@pytest.mark.parametrize("options", [{}, {"window": 7}, {"softcap": 0.5}, {"sinks": torch.tensor([1.0, -1, 0, 2])}])
@pytest.mark.parametrize("seed", range(6))
def test_it_equals_the_definition(seed: int, options: dict[str, Any]) -> None:
    plan = random_forest(np.random.default_rng(seed), 25, 90, extend=seed % 2 == 1).plan()
    k, v = pools(plan, 2)
    q = torch.randn(plan.num_rows, 4, 32, generator=torch.Generator().manual_seed(seed))
    asked = AttentionOptions(scale=0.3, **options)
    for got, want in zip(
        InvariantBackend(plan)(q, k, v, asked),
        reference_attention(plan, q, k, v, asked),
        strict=True,
    ):
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


def first_tree_in_company(backend: type[InvariantBackend] | type[TorchBackend], others: list[Forest]) -> torch.Tensor:
    """Attention of the same two branches, with other trees beside them."""
    plan = several([star(2, 100, 9), *others]).plan()
    k, v = (kv_pool(4096, 2, 32, dtype=torch.float32) for _ in range(2))
    own = np.concatenate([plan.slots(node) for node in range(3)])
    for pool, seed in ((k, 1), (v, 2)):
        pool.normal_(generator=torch.Generator().manual_seed(9))
        pool[torch.from_numpy(own).long()] = torch.randn(118, 2, 32, generator=torch.Generator().manual_seed(seed))
    q = torch.randn(plan.num_rows, 4, 32, generator=torch.Generator().manual_seed(3))
    q[:2] = torch.randn(2, 4, 32, generator=torch.Generator().manual_seed(4))
    out, _ = backend(plan)(q, k, v, AttentionOptions(scale=0.3))
    return out[:2]


def test_a_branch_has_the_same_bits_in_any_company() -> None:
    companies = [[star(n, m, 5)] for n in (1, 7, 30) for m in (3, 64, 300)]
    alone = first_tree_in_company(InvariantBackend, [])
    assert all(torch.equal(first_tree_in_company(InvariantBackend, others), alone) for others in companies)
