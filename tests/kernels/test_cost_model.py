"""The cost model: waves, company, bounds, and how FastTree cuts; no figure of it is held against a clock here."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.forests import Forest, levels, random_forest, several, speculative, star
from treereason.kernels.layer import LayerShape
from treereason.kernels.tools import attention_model as model
from treereason.kernels.tools.attention_costs import REVIEWED, ROWS
from treereason.kernels.tools.cost_model import (
    DEVICES,
    LAUNCH_SECONDS,
    Device,
    Launch,
    TileCost,
    call_seconds,
    makespan,
)
from treereason.kernels.tools.fasttree_cut import fasttree_cut, one_tree, parents

SHAPE = LayerShape(num_heads=32, num_kv_heads=8, head_dim=128, dtype=torch.bfloat16)
CARD = Device("four processors", "sm_90", 4, 1e9, 1e12, 2e12, 1e15)


def launch(programs: int, *, tiles: float = 1.0, resident: int = 1, heads: int = 1, **more: float) -> Launch:
    every = np.full(programs, tiles)
    tile = TileCost(alone=1_000, alone_masked=1_500, busy=800, busy_masked=900, resident=resident)
    return Launch(tile, every, np.zeros(programs), np.zeros(programs), heads, **more)


def cycles(one: Launch) -> float:
    return (one.seconds(CARD) - LAUNCH_SECONDS) * CARD.hertz


def test_programs_run_in_waves() -> None:
    assert [round(cycles(launch(programs))) for programs in (1, 4, 5, 8, 9)] == [1_000, 1_000, 2_000, 2_000, 3_000]
    assert cycles(launch(3, heads=3)) == pytest.approx(3_000)


def test_a_tail_waits_for_the_longest() -> None:
    assert makespan(np.array([5, 1, 1, 1, 1]), 2) == 5
    assert makespan(np.array([1, 1, 1, 1, 5]), 2) == 7
    assert makespan(np.array([3, 3, 3]), 2) == 6


def test_company_on_a_processor_costs_what_it_keeps_busy() -> None:
    assert cycles(launch(4, resident=2)) == pytest.approx(1_000), "one a processor, although two would fit"
    assert cycles(launch(8, resident=2)) == pytest.approx(1_600)
    assert cycles(launch(9, resident=2)) == pytest.approx(2_400), "three on one of them, one after another"


def test_no_program_is_done_sooner_than_alone() -> None:
    one = Launch(launch(1, resident=2).tile, np.array([9, *[1] * 7]), np.zeros(8), np.zeros(8), heads=1)
    assert cycles(one) == pytest.approx(9_000)


def test_kv_out_of_the_cache_hides_nothing_but_arrives_sooner() -> None:
    from_memory = cycles(launch(4, memory_bytes=100, loaded_bytes=100))
    assert cycles(launch(4, memory_bytes=0, loaded_bytes=100)) < from_memory == pytest.approx(1_000)


def test_bytes_bound_a_launch_from_below() -> None:
    assert launch(4, memory_bytes=1e9, loaded_bytes=1e9).seconds(CARD) == pytest.approx(1e-3 + LAUNCH_SECONDS)
    assert launch(4, memory_bytes=1e6, loaded_bytes=4e9).seconds(CARD) == pytest.approx(2e-3 + LAUNCH_SECONDS)


@pytest.mark.parametrize("heads", [(32, 8), (32, 32), (16, 1)])
@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
def test_no_prediction_is_below_the_floor(device: Device, heads: tuple[int, int]) -> None:
    shape = LayerShape(*heads, head_dim=128, dtype=torch.bfloat16)
    for forest in (star(10, 1_200, 100), levels((1, 4, 16, 64), (1_024, 256, 128, 32)), star(3, 0, 20)):
        plan = forest.plan(room=16)
        least = model.floor(plan, shape, device)
        for cost in (REVIEWED, ROWS):
            for of in (model.tree_decode, model.tree_extend, model.sequence, model.flatten):
                assert call_seconds(of(plan, shape, device, cost), device) > least
        for launches in (model.fasttree(plan, shape), model.flash_apart(plan, shape)):
            assert call_seconds(launches, device) > least


def test_two_programs_a_processor_or_one_where_each_would_have_few_tiles() -> None:
    for trees, programs in ((1, 132 // 8), (8, 2 * 132 // 8)):
        plan = several([star(10, 1_200, 100)] * trees).plan(room=16)
        decode, _ = model.tree_decode(plan, SHAPE, DEVICES["H200"], ROWS)
        (extend,) = model.tree_extend(plan, SHAPE, DEVICES["H200"], ROWS)
        assert len(decode.plain) == programs
        for kind in ("plain", "masked"):
            assert getattr(decode, kind).sum() == getattr(extend, kind).sum()


def test_a_merge_without_work_costs_its_programs() -> None:
    plan = levels((1, 1_024), (2_048, 32)).plan(room=16)
    _, merge = model.tree_decode(plan, SHAPE, DEVICES["H200"], ROWS)
    assert merge.plain.sum() == 0
    assert len(merge.plain) * merge.heads == 33 * 32 * 8
    assert merge.seconds(DEVICES["H200"]) > 2 * LAUNCH_SECONDS


def test_parents_are_read_off_a_plan() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        forest = random_forest(rng, nodes=12, max_tokens=4)
        assert parents(forest.plan()) == list(forest.parent)


def under_one_root(forest: Forest) -> Forest:
    return Forest([-1, *(above + 1 for above in forest.parent)], [37, *forest.tokens], [0, *forest.new_tokens])


@pytest.mark.parametrize("group_size", [1, 4, 16])
def test_fasttree_reads_every_path_once(group_size: int) -> None:
    rng = np.random.default_rng(5)
    forests = [under_one_root(random_forest(rng, nodes=30, max_tokens=300)) for _ in range(10)]
    for forest in (*forests, levels((1, 2, 64), (8, 256, 32)), star(10, 4_000, 400)):
        plan = forest.plan()
        cut = fasttree_cut(plan, group_size, 8)
        assert int((cut.rows.astype(int) * cut.tokens).sum()) == int((plan.row_position + 1).sum())
        assert int(cut.rows.sum()) == int(cut.slots.sum())
        assert cut.rows.max() <= cut.tile_rows[0]
        assert cut.tokens.max() <= 1_024


def test_fasttree_takes_one_tree_that_decodes_at_its_leaves() -> None:
    for forest in (several([star(2, 20, 5)] * 2), speculative(20, [[0], [0, 0]])):
        plan = forest.plan()
        assert not one_tree(plan)
        with pytest.raises(ValueError, match="one tree whose leaves decode one row each"):
            fasttree_cut(plan, 4, 8)
    assert one_tree(star(2, 20, 5).plan())
