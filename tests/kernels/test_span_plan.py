"""Plans of parts of nodes: every row sees its spans and nothing else, once, in every implementation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.forests import random_forest, star
from tests.kernels.random_spans import nodes_of_rows, random_spans, seen_of_spans
from tests.kernels.test_plan import seen_by_definition, seen_by_work
from tests.lanes import slow
from treereason.kernels.baselines.groups import CUTS
from treereason.kernels.cpu import torch_backend
from treereason.kernels.cpu.compiled_backend import CompiledBackend
from treereason.kernels.cpu.invariant_backend import InvariantBackend
from treereason.kernels.cpu.torch_backend import TorchBackend
from treereason.kernels.gpu.make_work import make_work
from treereason.kernels.options import AttentionOptions
from treereason.kernels.plan import Plan, kv_pool
from treereason.kernels.providers import TRITON, attention
from treereason.kernels.reference import reference_attention
from treereason.kernels.span_plan import OPEN, Spans, span_plan

KERNELS = [(name, seed) for name in TRITON if name not in CUTS or name == "deft_flatten" for seed in (1, 4)]
QUICK = [case for case in KERNELS if case[1] == 4]
CASES: dict[str, Any] = {
    "seed": st.integers(0, 2**32 - 1),
    "nodes": st.integers(1, 20),
    "longest": st.sampled_from([1, 15, 50]),
    "extend": st.booleans(),
}


def random_case(seed: int, nodes: int, longest: int, extend: bool, room: int = 0) -> tuple[Plan, Spans, Plan]:
    rng = np.random.default_rng(seed)
    plan = random_forest(rng, nodes, longest, extend=extend).plan(rng=rng, room=room)
    spans = random_spans(rng, plan)
    return plan, spans, span_plan(plan, spans)


def tensors(plan: Plan, spans: Spans, head_dim: int = 32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """q, and pools that are NaN wherever no row may look."""
    generator = torch.Generator().manual_seed(0)
    seen = torch.from_numpy(seen_of_spans(plan, spans).any(axis=0))
    pools = []
    for _ in range(2):
        pool = kv_pool(len(seen), 2, head_dim, dtype=torch.float32).fill_(float("nan"))
        pool[seen] = torch.randn(int(seen.sum()), 2, head_dim, generator=generator)
        pools.append(pool)
    return torch.randn(plan.num_rows, 4, head_dim, generator=generator), pools[0], pools[1]


@settings(deadline=None, max_examples=25)
@given(**CASES)
def test_a_plan_of_parts_shows_each_row_its_spans_once(seed: int, nodes: int, longest: int, extend: bool) -> None:
    plan, spans, parts = random_case(seed, nodes, longest, extend)
    seen, want = seen_by_definition(parts, None), seen_of_spans(plan, spans)
    assert (seen == want[:, : seen.shape[1]]).all()
    assert not want[:, seen.shape[1] :].any()
    assert (parts.row_slot == plan.row_slot).all()


@settings(deadline=None, max_examples=25)
@given(**CASES)
def test_spans_of_everything_are_the_plan_of_whole_nodes(seed: int, nodes: int, longest: int, extend: bool) -> None:
    rng = np.random.default_rng(seed)
    plan = random_forest(rng, nodes, longest, extend=extend).plan(rng=rng, room=20)
    rows = np.arange(plan.num_rows, dtype=np.int32)
    parts = span_plan(plan, Spans(rows, rows + 1, np.zeros_like(rows), np.full_like(rows, OPEN)))
    kept = (plan.node_hi > plan.node_lo) & (plan.node_tokens > 0)
    for name in ("node_lo", "node_hi", "node_start", "node_tokens"):
        assert (getattr(parts, name) == getattr(plan, name)[kept]).all()
    assert not parts.node_offset.any()
    assert (np.diff(parts.node_page) == np.diff(plan.node_page)[kept]).all()


def test_rows_that_name_the_same_line_share_one_read_of_it() -> None:
    plan = star(4, 100, 3).plan()
    rows = np.repeat(np.arange(4, dtype=np.int32), 2)
    first = np.array([40, 102] * 3 + [60, 102], dtype=np.int32)
    last = np.array([50, 103] * 3 + [70, 103], dtype=np.int32)
    parts = span_plan(plan, Spans(rows, rows + 1, first, last))
    assert parts.kv_tokens_read_tree == 10 + 10 + 4
    assert parts.node_lo.tolist()[:2] == [0, 3]
    assert parts.node_hi.tolist()[:2] == [3, 4]
    assert parts.node_offset.tolist()[:2] == [8, 12]


@settings(deadline=None, max_examples=30)
@given(
    **CASES,
    block_rows=st.sampled_from([1, 5, 32]),
    tile_pages=st.sampled_from([1, 4]),
    num_spans=st.sampled_from([None, 1, 5]),
    window=st.sampled_from([None, 1, 9, 33]),
)
def test_work_of_parts_shows_each_row_its_spans_once(
    seed: int,
    nodes: int,
    longest: int,
    extend: bool,
    block_rows: int,
    tile_pages: int,
    num_spans: int | None,
    window: int | None,
) -> None:
    _, _, parts = random_case(seed, nodes, longest, extend, room=seed % 20)
    work = make_work(parts, block_rows=block_rows, tile_pages=tile_pages, num_spans=num_spans, window=window)
    want = seen_by_definition(parts, window)
    assert (seen_by_work(work, tile_pages, window, want.shape[1]) == want).all()


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), nodes=st.integers(1, 20), steps=st.integers(1, 20))
def test_work_of_parts_advances_as_a_new_plan_of_longer_lines(seed: int, nodes: int, steps: int) -> None:
    plan, _, parts = random_case(seed, nodes, 40, extend=False, room=steps)
    work = make_work(parts, block_rows=4, tile_pages=2, num_spans=5)
    # Of each row, the pages of its node, and its token's place in these.
    owner = nodes_of_rows(plan)
    pages = np.zeros((plan.num_rows, 5), dtype=np.int32)
    for row, node in enumerate(owner.tolist()):
        own = plan.pages[plan.node_page[node] : plan.node_page[node + 1]]
        pages[row, : len(own)] = own
    ends = plan.row_position - plan.node_start[owner]
    before = seen_by_definition(parts, None)
    for step in range(1, steps + 1):
        work.advance(pages[np.arange(plan.num_rows), (ends + step) // plan.page_size])
        assert (work.row_position == plan.row_position + step).all()
        before[np.arange(plan.num_rows), work.row_slot] += 1
        assert (seen_by_work(work, 2, None, before.shape[1]) == before).all()


def by_parts(plan: Plan) -> TorchBackend:
    """Without gathered paths."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_backend, "GATHERED_SLOTS", 0)
        return TorchBackend(plan)


OPTIONS = [
    AttentionOptions(0.3),
    AttentionOptions(0.3, window=20),
    AttentionOptions(0.3, softcap=0.5, sinks=torch.tensor([3.0, -2.0, 0.5, 2.0])),
]


@settings(deadline=None, max_examples=25)
@given(**CASES, options=st.sampled_from(OPTIONS))
def test_every_backend_of_a_cpu_equals_the_reference(
    seed: int, nodes: int, longest: int, extend: bool, options: AttentionOptions
) -> None:
    plan, spans, parts = random_case(seed, nodes, longest, extend)
    data = tensors(plan, spans)
    want, want_lse = reference_attention(parts, *data, options)
    for backend in (TorchBackend, by_parts, CompiledBackend, InvariantBackend):
        got, lse = backend(parts)(*data, options)
        torch.testing.assert_close(got, want, atol=1e-5, rtol=0)
        torch.testing.assert_close(lse, want_lse, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize(("name", "seed"), [*QUICK, *slow(*(case for case in KERNELS if case not in QUICK))])
def test_every_kernel_equals_the_reference(name: str, seed: int) -> None:
    """Under Triton's interpreter, which tests/conftest.py asks for."""
    pytest.importorskip("triton")
    plan, spans, parts = random_case(seed, 8, 20, extend=seed == 1)
    data = tensors(plan, spans)
    for options in OPTIONS[:2]:
        want, want_lse = reference_attention(parts, *data, options)
        got, lse = attention(parts, *data, options, provider=name)
        torch.testing.assert_close(got, want, atol=1e-5, rtol=0)
        torch.testing.assert_close(lse, want_lse, atol=2e-5, rtol=2e-5)
