"""What each variant moves, on the shape that DeFT's own split does worst: 50 branches on a long prompt."""

from __future__ import annotations

import pytest
import torch

from benchmarks.forests import several, star
from treereason.kernels.baselines.groups import CHUNK_TOKENS, Cut, flat_groups, make_groups, node_groups
from treereason.kernels.gpu.make_work import make_work
from treereason.kernels.layer import LayerShape
from treereason.kernels.plan import Plan
from treereason.kernels.tools.traffic import Traffic, floor_seconds, flops, groups_traffic, work_traffic

SHAPE = LayerShape(num_heads=32, num_kv_heads=8, head_dim=128, dtype=torch.bfloat16)
PROCESSORS = 132


def tree(plan: Plan, shape: LayerShape = SHAPE) -> Traffic:
    work = make_work(
        plan,
        block_rows=128 // (shape.num_heads // shape.num_kv_heads),
        tile_pages=4,
        num_spans=PROCESSORS // shape.num_kv_heads,
    )
    return work_traffic(work, shape, programs=PROCESSORS)


def deft(cut: Cut, plan: Plan) -> Traffic:
    groups = make_groups(cut, plan, block_rows=32, tile_pages=4)
    return groups_traffic(plan, groups, SHAPE, programs=PROCESSORS)


@pytest.mark.parametrize("prompt", [4_000, 20_000])
@pytest.mark.parametrize("own", [1, 60, 200])
def test_fifty_branches_on_a_long_prompt(prompt: int, own: int) -> None:
    plan = star(50, prompt, own).plan(room=16)
    moved = tree(plan)
    unique = plan.kv_tokens_read_tree * SHAPE.kv_token_bytes
    assert unique <= moved.kv <= unique * 1.02
    assert moved.partials <= 10_000_000


@pytest.mark.parametrize("heads", [(32, 32), (32, 8), (64, 8), (16, 1)])
def test_partial_results_are_bounded_by_the_grid(heads: tuple[int, int]) -> None:
    shape = LayerShape(*heads, head_dim=128, dtype=torch.bfloat16)
    rows = 128 // (heads[0] // heads[1])
    for forest in (star(50, 20_000, 200), star(512, 4_000, 17), several([star(10, 1_200, 100)] * 64)):
        assert tree(forest.plan(), shape).partials <= 2 * PROCESSORS // heads[1] * rows * shape.partial_row_bytes


def test_each_way_of_cutting_pays_where_it_is_known_to() -> None:
    plan = star(50, 20_000, 200).plan()
    unique = plan.kv_tokens_read_tree * SHAPE.kv_token_bytes
    chunk = CHUNK_TOKENS // plan.page_size
    assert deft(node_groups(plan, chunk), plan).partials > 10 * tree(plan).partials
    assert deft(flat_groups(plan, chunk), plan).partials > 10 * tree(plan).partials
    assert deft(node_groups(plan, None), plan).partials < 2 * tree(plan).partials
    rows = make_work(plan, block_rows=1, tile_pages=4, piece_tiles=16)
    assert work_traffic(rows, SHAPE, programs=PROCESSORS, cache_bytes=0).kv > 25 * unique


def test_floor_is_memory_or_arithmetic() -> None:
    plan = star(1, 1_000, 1).plan()
    data = (1_001 * 4_096 + 2 * 32 * 128 * 2) / 1e12
    assert floor_seconds(plan, SHAPE, bandwidth=1e12, rate=1e30) == pytest.approx(data)
    assert flops(plan, SHAPE) == 4 * 32 * 128 * 1_001
    assert floor_seconds(plan, SHAPE, bandwidth=1e30, rate=1e12) == pytest.approx(4 * 32 * 128 * 1_001 / 1e12)
