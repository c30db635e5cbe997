"""The work cut from a plan: every visible token once for every row, even spans, bounded partial results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.forests import Forest, levels, random_forest, several, star
from treereason.kernels.gpu import make_work as make_work_module
from treereason.kernels.gpu.device_work import Capacity, DeviceWork
from treereason.kernels.gpu.make_work import PIECE_COST, make_work
from treereason.kernels.gpu.row_blocks import row_blocks, shared_tokens
from treereason.kernels.gpu.work import Work, stored_tokens
from treereason.kernels.plan import Plan


def seen_by_definition(plan: Plan, window: int | None) -> np.ndarray:
    """[N, slots] how often a row sees a slot, by the rule of one interval and one comparison."""
    seen = np.zeros((plan.num_rows, (int(plan.pages.max()) + 1) * plan.page_size), dtype=int)
    for node in range(plan.num_nodes):
        for row in range(plan.node_lo[node], plan.node_hi[node]):
            age = plan.row_position[row] - plan.node_start[node] - np.arange(plan.node_tokens[node])
            seen[row, plan.slots(node)] = (age >= 0) & (age < (window or len(age) + 10**6))
    return seen


def seen_by_work(work: Work, tile_pages: int, window: int | None, num_slots: int) -> np.ndarray:
    """The same from tiles, masking only where a piece says so."""
    seen = np.zeros((len(work.row_position), num_slots), dtype=int)
    for piece, lo in enumerate(work.piece_lo.tolist()):
        rows = np.arange(lo, work.piece_hi[piece])
        for tile in range(work.piece_first[piece], work.piece_last[piece]):
            for place in range(tile * tile_pages, (tile + 1) * tile_pages):
                packed = int(work.page_seen[place])
                if tile < work.piece_mixed[piece]:
                    visible = np.ones((len(rows), work.page_size), dtype=bool)
                else:
                    offset = np.arange(packed >> 16)
                    age = work.row_position[rows][:, None] - work.page_start[place] - offset
                    inside = (lo + (packed & 0xFF) <= rows) & (rows < lo + (packed >> 8 & 0xFF))
                    visible = inside[:, None] & (age >= 0) & (age < (window or 10**6))
                first = work.page_slot[place]
                seen[lo : lo + len(rows), first : first + visible.shape[1]] += visible
    return seen


def num_blocks(work: Work) -> int:
    """Row blocks that the pieces make up."""
    return len(set(work.piece_lo.tolist()))


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    nodes=st.integers(1, 25),
    longest=st.sampled_from([1, 15, 50]),
    extend=st.booleans(),
    block_rows=st.sampled_from([1, 2, 5, 32]),
    tile_pages=st.sampled_from([1, 2, 4]),
    spans=st.sampled_from([None, 1, 3, 16]),
    piece_tiles=st.sampled_from([None, 2]),
    split_cost=st.sampled_from([0, make_work_module.SPLIT_COST]),
    window=st.sampled_from([None, 1, 9, 33]),
)
def test_every_row_sees_what_the_rule_says_once(
    seed: int,
    nodes: int,
    longest: int,
    extend: bool,
    block_rows: int,
    tile_pages: int,
    spans: int | None,
    piece_tiles: int | None,
    split_cost: int,
    window: int | None,
) -> None:
    rng = np.random.default_rng(seed)
    plan = random_forest(rng, nodes, longest, extend=extend).plan(rng=rng, room=int(rng.integers(20)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make_work_module, "SPLIT_COST", split_cost)
        work = make_work(
            plan, block_rows=block_rows, tile_pages=tile_pages, num_spans=spans, piece_tiles=piece_tiles, window=window
        )
    want = seen_by_definition(plan, window)
    assert (seen_by_work(work, tile_pages, window, want.shape[1]) == want).all()
    assert (work.piece_hi - work.piece_lo).max() <= block_rows
    for merge, lo in enumerate(work.merge_lo):
        partials = np.arange(work.merge_partial[merge], work.merge_partial[merge + 1])
        own = np.flatnonzero(work.piece_lo == lo)
        assert (work.piece_hi[own] == work.merge_hi[merge]).all()
        assert sorted(work.piece_partial[own]) == partials.tolist()
    if spans:
        assert work.num_spans == spans
        assert work.num_partials <= 2 * spans
        assert len(work.merge_lo) <= spans


@pytest.mark.parametrize("spans", [4, 16, 132])
def test_spans_cost_the_same(spans: int) -> None:
    """One token nodes and a long root, several trees: no span does more than its share."""
    plan = several([star(50, 20_000, 1), star(10, 1_200, 300), *[star(3, 100, 2)] * 20]).plan()
    work = make_work(plan, block_rows=32, tile_pages=4, num_spans=spans)
    pieces = np.diff(work.span_piece)
    tiles = np.add.reduceat(work.piece_last - work.piece_first, work.span_piece[:-1].clip(0, len(work.piece_lo) - 1))
    tiles[pieces == 0] = 0
    share = (work.num_tiles + PIECE_COST * num_blocks(work)) / spans
    # An eighth of the grid may stay empty for lockstep, and a cut moves at most a sixteenth of a span, at either end.
    assert tiles.max() <= share * 8 / 7 * 9 / 8 + 2 * PIECE_COST + 1


def test_blocks_never_join_trees_and_prefer_forks() -> None:
    plan = several([star(3, 10, 1), star(5, 10, 1), star(40, 10, 1)]).plan()
    assert row_blocks(shared_tokens(plan), 32).tolist() == [0, 3, 8, 28, 48]
    # Two problems of 20 branches under one short head: the cut lies between them.
    problems = Forest(
        [-1, 0, *[1] * 20, 0, *[22] * 20], [16, 400, *[5] * 20, 400, *[5] * 20], [0, 0, *[1] * 20, 0, *[1] * 20]
    )
    assert row_blocks(shared_tokens(problems.plan()), 32).tolist() == [0, 20, 40]


def test_two_small_integers_do_for_any_number_of_branches() -> None:
    plan = levels((1, 4, 16, 512), (1024, 256, 128, 32)).plan()
    assert plan.num_rows == 512
    work = make_work(plan, block_rows=32, tile_pages=4, num_spans=16)
    assert num_blocks(work) == 16  # 32 branches each, as they hang below the third level
    assert (np.diff(work.span_piece) == 1).all()
    assert work.num_partials == 0


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), nodes=st.integers(1, 25), steps=st.integers(1, 20))
def test_advance_equals_a_new_plan(seed: int, nodes: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    forest = random_forest(rng, nodes, 40)
    grown = Forest(
        forest.parent, [t + steps * n for t, n in zip(forest.tokens, forest.new_tokens, strict=True)], forest.new_tokens
    )
    work = make_work(forest.plan(room=steps), block_rows=4, tile_pages=2, num_spans=5)
    for _ in range(steps):
        work.advance()
    plan = grown.plan()
    assert (work.row_position == plan.row_position).all()
    assert (work.row_slot == plan.row_slot).all()
    want = seen_by_definition(plan, None)
    assert (seen_by_work(work, 2, None, want.shape[1]) == want).all()


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), nodes=st.integers(1, 25), steps=st.integers(1, 40))
def test_pages_that_were_not_known_to_the_plan_can_be_given_when_they_are_reached(
    seed: int, nodes: int, steps: int
) -> None:
    forest = random_forest(np.random.default_rng(seed), nodes, 40)
    known = forest.plan(room=steps)
    stored = -(-known.node_tokens // known.page_size)
    hidden = known.pages.copy()
    for node in range(known.num_nodes):
        hidden[known.node_page[node] + stored[node] : known.node_page[node + 1]] = 0
    works = [make_work(plan, block_rows=4, tile_pages=2, num_spans=5) for plan in (known, replace(known, pages=hidden))]
    for _ in range(steps):
        works[0].advance()
        works[1].advance(works[0].row_slot // known.page_size)
        for name in ("row_position", "row_slot", "row_page", "page_seen"):
            assert (getattr(works[0], name) == getattr(works[1], name)).all()
    used = stored_tokens(works[0].page_seen) > 0
    assert (works[0].page_slot[used] == works[1].page_slot[used]).all()


def test_a_buffer_is_never_smaller_than_asked_and_no_plan_has_more_pieces_than_it_holds() -> None:
    work = make_work(star(40, 500, 3).plan(), block_rows=4, tile_pages=2, num_spans=8)
    own = Capacity.of(work)
    least = Capacity(rows=7, pages=4 * own.pages, blocks=2 * own.blocks, pieces=0, spans=0, merges=0)
    large = Capacity.of(work, least)
    assert (large.rows, large.pages) == (own.rows, 4 * own.pages)
    assert (large.blocks, large.pieces) == (2 * own.blocks, 2 * own.blocks + 8)
    for branches in range(1, 40, 3):
        for spans in (1, 3, 8):
            work = make_work(star(branches, 500, 3).plan(), block_rows=4, tile_pages=2, num_spans=spans)
            assert len(work.piece_lo) <= num_blocks(work) + spans


def test_advance_stops_where_reserved_pages_end() -> None:
    work = make_work(star(2, 10, 14).plan(), block_rows=4, tile_pages=2, num_spans=2)
    work.advance()
    work.advance()
    before = work.row_slot.copy()
    with pytest.raises(RuntimeError, match="plan again"):
        work.advance()
    assert (work.row_slot == before).all()


def test_a_smaller_plan_leaves_nothing_of_a_larger_one_behind() -> None:
    large, small = (
        make_work(star(n, 500, 3).plan(), block_rows=4, tile_pages=2, num_spans=spans) for n, spans in ((40, 8), (2, 8))
    )
    device_work = DeviceWork(Capacity.of(large), "cpu")
    device_work.load(large)
    device_work.load(small)
    assert (device_work["span_piece"][len(small.span_piece) :] == small.span_piece[-1]).all()
    assert (device_work["merge_partial"][len(small.merge_partial) :] == small.merge_partial[-1]).all()
    assert (device_work["piece_last"][len(small.piece_last) :] == 0).all()
    with pytest.raises(ValueError, match="exceeds"):
        device_work.load(make_work(star(400, 500, 3).plan(), block_rows=4, tile_pages=2, num_spans=8))


@pytest.mark.parametrize("num_rows", [1, 3, 17])
@pytest.mark.parametrize("num_spans", [1, 5, 132, None])
def test_all_arrays_of_a_plan_are_aligned_alike_on_the_device(num_rows: int, num_spans: int | None) -> None:
    work = make_work(star(num_rows, 50, 3).plan(), block_rows=4, tile_pages=2, num_spans=num_spans)
    device_work = DeviceWork(Capacity.of(work), "cpu")
    assert all(array.data_ptr() % 16 == 0 for array in device_work.tensors.values())


def test_a_forest_of_many_trees_is_planned_without_walking_it() -> None:
    plan = several([star(64, 1_200, 100)] * 64).plan(room=16)
    work = make_work(plan, block_rows=32, tile_pages=4, num_spans=16)
    assert num_blocks(work) == 128


def test_blocks_stay_whole_where_splitting_them_gains_less_than_a_merge_costs() -> None:
    """64 trees for 33 programs: two each leave one program idle, an equal cut would split nearly every tree."""
    even = make_work(several([star(10, 1_200, 100)] * 64).plan(), block_rows=16, tile_pages=4, num_spans=33)
    assert even.num_partials == 0
    assert np.diff(even.span_piece).tolist() == [2] * 32 + [0]
    lone = make_work(star(10, 1_200, 100).plan(), block_rows=16, tile_pages=4, num_spans=16)
    assert lone.num_partials == 16


def test_blocks_of_one_tree_are_read_at_the_same_time() -> None:
    """64 trees in two blocks each, 33 programs: both blocks of a tree have the same place in neighbouring spans."""
    work = make_work(several([star(10, 1_200, 100)] * 64).plan(), block_rows=5, tile_pages=4, num_spans=33)
    assert work.num_partials == 0
    turn: dict[int, tuple[int, int]] = {}
    for span, (first, last) in enumerate(zip(work.span_piece[:-1], work.span_piece[1:], strict=True)):
        turn |= {int(work.piece_lo[piece]): (span, piece - first) for piece in range(first, last)}
    for tree in range(64):
        (span, place), (next_span, next_place) = turn[10 * tree], turn[10 * tree + 5]
        assert (next_span, next_place) == (span + 1, place)


def test_few_programs_share_what_is_little() -> None:
    plan = star(10, 1_200, 100).plan()
    work = make_work(plan, block_rows=16, tile_pages=4, num_spans=33, few_spans=16)
    assert work.num_spans == 33
    assert (np.diff(work.span_piece)[16:] == 0).all()


def test_blocks_that_need_no_split_each_get_a_program_also_where_there_is_little_to_do() -> None:
    plan = several([star(10, 200, 20)] * 30).plan()
    work = make_work(plan, block_rows=16, tile_pages=4, num_spans=33, few_spans=16)
    assert work.num_partials == 0
    assert np.diff(work.span_piece).tolist() == [1] * 30 + [0] * 3
