"""Every Triton kernel equals the reference: under Triton's interpreter on a CPU, or on a GPU.

tests/conftest.py asks for the interpreter. Without it (`make gpu`) this file needs a GPU.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("triton")

from benchmarks.forests import Forest, random_forest, several, speculative, star
from tests.lanes import slow, slow_case
from treereason.kernels.gpu import make_work
from treereason.kernels.gpu.store_kv import store_kv
from treereason.kernels.gpu.tile import Tile
from treereason.kernels.gpu.tree_decode import TreeDecode
from treereason.kernels.layer import LayerShape
from treereason.kernels.options import AttentionOptions
from treereason.kernels.plan import Plan, kv_pool
from treereason.kernels.providers import TRITON, attention, prepare
from treereason.kernels.reference import reference_attention

try:
    from hypothesis import given, settings
    from hypothesis import strategies as st
except ImportError:  # a GPU machine may have torch, triton and pytest alone
    given = None  # type: ignore[assignment]

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
if not INTERPRETED:
    pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")]

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 5e-3}
# DeFT's variants share one kernel and differ in their groups.
KERNELS = tuple(name for name in TRITON if name not in {"deft_node", "deft_node_chunk"})
PLAIN = AttentionOptions(scale=0.3)
Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@pytest.fixture(autouse=True)
def _small_blocks_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of long prompts are, so that partial results are merged."""
    monkeypatch.setattr(make_work, "SPLIT_COST", 0)


@pytest.fixture(autouse=True)
def _empty_is_poisoned(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a kernel forgets to write is NaN."""
    real_empty = torch.empty

    def poisoned(*args: Any, **kwargs: Any) -> torch.Tensor:
        tensor = real_empty(*args, **kwargs)
        return tensor.fill_(float("nan")) if tensor.is_floating_point() else tensor

    monkeypatch.setattr(torch, "empty", poisoned)
    with np.errstate(all="ignore"):
        yield


@pytest.fixture(autouse=True)
def _bfloat16_is_multiplied_as_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter (triton 3.7) multiplies bfloat16 by its bits: hand its dot float32 instead."""
    if not INTERPRETED:
        return
    from triton import language as tl
    from triton.runtime.interpreter import InterpreterBuilder

    dot = InterpreterBuilder.create_dot

    def wide(builder: Any, a: Any) -> Any:
        return builder.cast_impl(a, tl.float32) if a.dtype.scalar == tl.bfloat16 else a

    def create_dot(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        return dot(self, wide(self, a), wide(self, b), *rest)

    monkeypatch.setattr(InterpreterBuilder, "create_dot", create_dot)


def tensors(plan: Plan, heads: tuple[int, int], head_dim: int, dtype: torch.dtype, seed: int = 0) -> Tensors:
    """q and pools that are NaN wherever the plan stores nothing."""
    generator = torch.Generator().manual_seed(seed)
    used = torch.from_numpy(np.concatenate([plan.slots(node) for node in range(plan.num_nodes)])).long()
    pools = []
    for _ in range(2):
        pool = kv_pool((int(plan.pages.max()) + 1) * plan.page_size, heads[1], head_dim, dtype=dtype)
        pool.fill_(float("nan"))
        pool[used] = torch.randn(len(used), heads[1], head_dim, generator=generator).to(dtype)
        pools.append(pool.to(DEVICE))
    q = torch.randn(plan.num_rows, heads[0], head_dim, generator=generator).to(dtype).to(DEVICE)
    return q, pools[0], pools[1]


def check(name: str, plan: Plan, data: Tensors, **options: Any) -> None:
    asked = AttentionOptions(**{"scale": 0.3, **options})
    want, want_lse = reference_attention(plan, *data, asked)
    got, got_lse = attention(plan, *data, asked, provider=name)
    close(got, want, data[0].dtype)
    torch.testing.assert_close(got_lse, want_lse, atol=2e-5, rtol=2e-5)


def close(got: torch.Tensor, want: torch.Tensor, dtype: torch.dtype) -> None:
    """Relative to the largest value: outputs over many tokens are small."""
    torch.testing.assert_close(got.float(), want.float(), atol=TOLERANCE[dtype] * float(want.abs().max()), rtol=0)


FORESTS: dict[str, Forest] = {
    "a single node": Forest([-1], [60], [1]),
    "one token": Forest([-1], [1], [1]),
    "one-token nodes": Forest([-1, 0, 1, 1, 0], [1, 1, 1, 1, 1], [0, 0, 1, 1, 1]),
    "odd lengths": Forest([-1, 0, 0, 2, 2], [63, 60, 1, 17, 63], [0, 1, 0, 1, 1]),
    "a root of one token": star(5, 1, 3),
    "empty nodes and empty leaves": Forest([-1, 0, 1, 1, 0], [20, 0, 1, 5, 1], [0, 0, 1, 1, 1]),
    "a node that no row sees": Forest([-1, 0, 0], [30, 20, 4], [0, 0, 1]),
    "several trees": several([star(3, 40, 5), star(1, 7, 1), Forest([-1], [33], [1]), star(4, 64, 16)]),
    "a chain that decodes at every depth": Forest([-1, 0, 1, 2], [16, 16, 5, 9], [1, 1, 1, 1]),
}


@pytest.mark.parametrize("name", [*KERNELS, *slow(*(name for name in TRITON if name not in KERNELS))])
@pytest.mark.parametrize("forest", FORESTS)
def test_forests(name: str, forest: str) -> None:
    plan = FORESTS[forest].plan(rng=np.random.default_rng(0))
    check(name, plan, tensors(plan, (4, 2), 32, torch.float32))


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("heads", [(2, 2), (14, 2), *map(slow_case, [(2, 1), (4, 1), (8, 1), (16, 1)])])
def test_grouped_heads(name: str, heads: tuple[int, int]) -> None:
    plan = several([star(3, 20, 3), star(2, 17, 9)]).plan()
    check(name, plan, tensors(plan, heads, 32, torch.float32))


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("head_dim", [32, 96, 256, *slow(64, 128)])
def test_head_sizes_and_dtypes(name: str, head_dim: int) -> None:
    plan = star(2, 20, 5).plan()
    for dtype in TOLERANCE:
        check(name, plan, tensors(plan, (4, 2), head_dim, dtype), scale=head_dim**-0.5)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("window", [1, 40, *slow(7)])
def test_window(name: str, window: int) -> None:
    plan = several([star(3, 70, 9), Forest([-1, 0, 0], [33, 3, 20], [1, 2, 2])]).plan()
    check(name, plan, tensors(plan, (4, 2), 32, torch.float32), window=window)


@pytest.mark.parametrize("name", KERNELS)
def test_softcap_and_sinks(name: str) -> None:
    plan = star(3, 50, 9).plan()
    data = tensors(plan, (4, 2), 32, torch.float32)
    sinks = torch.tensor([3.0, -2.0, 0.5, 200.0], device=DEVICE)
    check(name, plan, data, softcap=0.5)
    check(name, plan, data, sinks=sinks)
    check(name, plan, data, sinks=sinks, softcap=1.5, window=20)


@pytest.mark.parametrize("name", KERNELS)
def test_each_feature_changes_the_result(name: str) -> None:
    plan = star(3, 50, 9).plan()
    data = tensors(plan, (4, 2), 32, torch.float32)
    options = AttentionOptions(0.3, window=5, softcap=0.5, sinks=torch.ones(4, device=DEVICE))
    full, _ = attention(plan, *data, options, provider=name)
    for removed in ("window", "softcap", "sinks"):
        off: dict[str, Any] = {removed: None}
        without, _ = attention(plan, *data, replace(options, **off), provider=name)
        assert (full - without).abs().max() > 1e-2, removed


@pytest.mark.parametrize("name", TRITON)
def test_several_new_tokens_a_node(name: str) -> None:
    prompts = several([Forest([-1], [19], [19]), Forest([-1], [5], [5])])
    thoughts = Forest([-1, 0, 1, 1, 0], [40, 21, 7, 1, 8], [0, 5, 7, 1, 3])
    guesses = speculative(45, [[0], [0, 0], [1], [0, 1], [1, 0], [0, 0, 0]])
    for forest in (prompts, thoughts, guesses):
        plan = forest.plan(rng=np.random.default_rng(1))
        check(name, plan, tensors(plan, (4, 1), 32, torch.float32))


@pytest.mark.parametrize("spans", [3, *slow(1, 8)])
@pytest.mark.parametrize("tile", [Tile(16, 16, 4, 2), Tile(32, 64, 4, 2), Tile(64, 32, 4, 2)])
def test_spans_and_tiles_leave_the_result(spans: int, tile: Tile) -> None:
    plan = several([star(9, 130, 5), star(2, 17, 40)]).plan(rng=np.random.default_rng(2))
    data = tensors(plan, (4, 2), 32, torch.float32)
    planned = TreeDecode(plan, LayerShape(4, 2, 32, torch.float32), DEVICE, num_spans=spans, tile=tile)
    close(planned(*data, PLAIN)[0], reference_attention(plan, *data, PLAIN)[0], torch.float32)


@pytest.mark.parametrize("name", ["tree_decode", *slow("tree_extend")])
def test_two_hundred_branches_and_a_long_root(name: str) -> None:
    plan = star(200, 40, 2).plan(rng=np.random.default_rng(3))
    check(name, plan, tensors(plan, (2, 1), 32, torch.float32))
    plan = star(2, 4000, 3).plan(rng=np.random.default_rng(4))
    check(name, plan, tensors(plan, (2, 1), 32, torch.bfloat16))


@pytest.mark.parametrize("name", KERNELS)
def test_two_runs_give_the_same_bits(name: str) -> None:
    plan = random_forest(np.random.default_rng(5), 12, 60).plan(rng=np.random.default_rng(5))
    data = tensors(plan, (4, 2), 64, torch.bfloat16)
    first, second = (attention(plan, *data, PLAIN, provider=name) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


@pytest.mark.parametrize("name", KERNELS)
def test_pools_of_any_strides(name: str) -> None:
    plan = star(3, 20, 4).plan()
    q, k, v = tensors(plan, (4, 2), 32, torch.float32)
    heads_inside = k.contiguous()  # [slots, Hkv, D] as one block, not head by head
    both = torch.stack([v, v], dim=1)[:, 0]
    assert heads_inside.stride() != k.stride() != both.stride()
    check(name, plan, (q, heads_inside, both))
    with pytest.raises(ValueError, match="contiguous"):
        attention(plan, q, k.transpose(0, 2).contiguous().transpose(0, 2), v, PLAIN, provider=name)


def test_advance_equals_a_new_plan() -> None:
    def forest(grown: int) -> Forest:
        return several([Forest([-1, 0, 0], [33, 14 + grown, 1 + grown], [0, 1, 1]), star(2, 5, 8 + grown)])

    plans = [forest(0).plan(room=5), forest(5).plan()]
    data = tensors(plans[1], (4, 2), 32, torch.float32)
    planned = TreeDecode(plans[0], LayerShape(4, 2, 32, torch.float32), DEVICE)
    for _ in range(5):
        planned.work.advance()
    want, _ = reference_attention(plans[1], *data, PLAIN)
    close(planned(*data, PLAIN)[0], want, torch.float32)
    planned.work.load(plans[1])
    close(planned(*data, PLAIN)[0], want, torch.float32)
    for _ in range(3):  # 13 tokens to the end of their only page
        planned.work.advance()
    with pytest.raises(RuntimeError, match="plan again"):
        planned.work.advance()


def test_store_kv() -> None:
    generator = torch.Generator().manual_seed(0)
    k, v = (torch.randn(5, 3, 96, generator=generator).to(DEVICE) for _ in range(2))
    pools = [kv_pool(64, 3, 96, dtype=torch.float32, device=DEVICE).fill_(7.0) for _ in range(2)]
    slots = torch.tensor([3, 60, 17, 0, -1], dtype=torch.int32, device=DEVICE)  # the last row is padding
    store_kv(k, v, pools[0], pools[1], slots)
    stored = slots[:4].long()
    for pool, new in zip(pools, (k, v), strict=True):
        assert torch.equal(pool[stored], new[:4])
        pool[stored] = 7.0
        assert (pool == 7.0).all()


def test_addresses_beyond_32_bits() -> None:
    """Slot x stride passes 2^31 elements; on a CPU the pool is mapped, not filled."""
    plan = star(1, 14, 4).plan()
    far = 1 << 27
    assert int(plan.row_slot.max()) * far > 2**31
    try:
        pool = torch.empty_strided((20, 2, 32), (far, 32, 1), dtype=torch.bfloat16, device=DEVICE)
    except RuntimeError:
        pytest.skip("5 GB of address space are not to be had")
    k, v = pool[:, :1], pool[:, 1:]
    for row in range(20):
        pool[row] = torch.randn(2, 32, generator=torch.Generator().manual_seed(row)).to(torch.bfloat16)
    q = torch.ones(1, 2, 32, dtype=torch.bfloat16, device=DEVICE)
    for name in KERNELS:
        check(name, plan, (q, k, v))
    store_kv(q[:, :1], q[:, :1], k, v, torch.tensor([19], dtype=torch.int32, device=DEVICE))
    assert (pool[19] == 1).all()


@pytest.mark.skipif(INTERPRETED, reason="graphs need a GPU")
def test_a_captured_graph_follows_advance() -> None:
    plan = star(20, 500, 17).plan(room=3)
    planned = TreeDecode(plan, LayerShape(8, 2, 64, torch.bfloat16), DEVICE)
    q, k, v = (t.nan_to_num(0.5) for t in tensors(plan, (8, 2), 64, torch.bfloat16))
    planned(q, k, v, PLAIN)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out, _ = planned(q, k, v, PLAIN)
    for grown in range(1, 4):
        planned.work.advance()
        graph.replay()
        want, _ = reference_attention(star(20, 500, 17 + grown).plan(room=3 - grown), q, k, v, PLAIN)
        close(out, want, torch.bfloat16)


def check_random(
    name: str, seed: int, nodes: int, longest: int, extend: bool, heads: tuple[int, int], window: int | None
) -> None:
    rng = np.random.default_rng(seed)
    plan = random_forest(rng, nodes, longest, extend=extend).plan(rng=rng)
    dtype = torch.bfloat16 if seed % 2 else torch.float32
    check(name, plan, tensors(plan, heads, 32, dtype, seed), window=window)


HEADS, WINDOWS, LONGEST = [(2, 2), (4, 2), (7, 1)], [None, 5, 40], [1, 15, 40]


@pytest.mark.parametrize("name", TRITON)
@pytest.mark.parametrize("seeds", [(1, 3), slow_case((0, 2))])
def test_random_forests(name: str, seeds: tuple[int, ...]) -> None:
    for seed in seeds:
        rng = np.random.default_rng(seed)
        nodes, heads, window, longest = (int(rng.integers(n)) for n in (16, 3, 3, 3))
        check_random(name, seed, nodes + 1, LONGEST[longest], seed == 3, HEADS[heads], WINDOWS[window])


if given:  # type: ignore[truthy-function]

    @pytest.mark.parametrize("name", ["tree_decode", "tree_extend"])
    @pytest.mark.parametrize("number", [2, *slow(50)])
    def test_random_forests_by_hypothesis(name: str, number: int) -> None:
        @settings(deadline=None, max_examples=number, database=None)
        @given(
            seed=st.integers(0, 2**32 - 1),
            nodes=st.integers(1, 30),
            longest=st.sampled_from([1, 15, 63]),
            heads=st.sampled_from(HEADS),
            window=st.sampled_from(WINDOWS),
        )
        def try_one(seed: int, nodes: int, longest: int, heads: tuple[int, int], window: int | None) -> None:
            check_random(name, seed, nodes, longest, False, heads, window)

        try_one()


def test_heads_that_do_not_fit_and_unknown_names_are_refused() -> None:
    plan = star(2, 4, 1).plan()
    q, k, _ = tensors(plan, (4, 2), 32, torch.float32)
    with pytest.raises(ValueError, match="do not fit"):
        TreeDecode(plan, LayerShape(32, 1, 32, torch.float32), DEVICE, tile=Tile(16, 16, 4, 2))
    with pytest.raises(ValueError, match="evenly"):
        prepare("tree_decode", plan, q[:, :3], k)
    with pytest.raises(ValueError, match="tree_decode, "):
        prepare("tree_decod", plan, q, k)
