"""Seconds of one attention call by the cost model, for tree_decode and what it is compared with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from treereason.kernels.baselines.groups import CUTS, make_groups
from treereason.kernels.gpu.make_work import make_work
from treereason.kernels.gpu.merge import MERGE_M
from treereason.kernels.gpu.row_blocks import widest_tree
from treereason.kernels.gpu.tile import Tile, choose_tile
from treereason.kernels.gpu.work import Work
from treereason.kernels.layer import LayerShape
from treereason.kernels.plan import Int32, Plan
from treereason.kernels.tools.attention_costs import (
    FASTTREE_NARROW,
    FASTTREE_PIECE,
    FASTTREE_SLOTS,
    FASTTREE_WIDE,
    MERGE_RESIDENT,
    AttentionCost,
)
from treereason.kernels.tools.cost_model import MEMORY_LATENCY, Device, Launch, TileCost
from treereason.kernels.tools.fasttree_cut import fasttree_cut
from treereason.kernels.tools.traffic import Traffic, floor_seconds, groups_traffic, work_traffic

UNIT = 64  # tokens of KV that costs are given for
CACHE_BYTES = 32 << 20  # partial results beyond this go to memory and come back
Array = npt.NDArray[np.number]


def floor(plan: Plan, shape: LayerShape, device: Device) -> float:
    """Seconds: everything read once at the bandwidth a kernel reaches, or the arithmetic."""
    return floor_seconds(plan, shape, bandwidth=device.memory_bandwidth, rate=device.rate)


def tree_decode(
    plan: Plan, shape: LayerShape, device: Device, cost: AttentionCost, *, resident: int = 1
) -> list[Launch]:
    """Spans of equal cost over a persistent grid, then the merge.

    resident: programs a processor, where its registers hold so many.
    """
    tile = _tree_tile(plan, shape, device)
    resident = min(resident, cost.tiles[tile.block_m].resident)
    work = _work(plan, shape, tile, num_spans=max(1, resident * device.processors // shape.num_kv_heads))
    first, count = work.span_piece[:-1], np.diff(work.span_piece)
    plain, masked, pieces = (_sums(a, first, count) for a in _pieces(work, tile))
    moved = work_traffic(work, shape, programs=resident * device.processors)
    one = _launch(cost.with_resident(resident), tile, shape, plain, masked, pieces, moved)
    return [one, _merge(cost, tile.block_m // MERGE_M, np.diff(work.merge_partial), shape, moved)]


def tree_extend(plan: Plan, shape: LayerShape, device: Device, cost: AttentionCost) -> list[Launch]:
    """A program a row block and KV head, longest first, no merge."""
    tile = _tree_tile(plan, shape, device)
    work = _work(plan, shape, tile)
    moved = work_traffic(work, shape, programs=device.processors)
    return [_launch(cost, tile, shape, *_pieces(work, tile), moved)]


def sequence(plan: Plan, shape: LayerShape, device: Device, cost: AttentionCost) -> list[Launch]:
    """Every row its own path, split over programs (kernels/baselines/sequence.py), then the merge."""
    tile = choose_tile(shape.group_size, shape.head_dim, shape.dtype, device.arch)
    tiles = int((plan.row_position + 1).sum()) // tile.block_n + plan.num_rows
    piece_tiles = max(256 // tile.block_n, tiles * shape.num_kv_heads // (4 * device.processors))
    work = _work(plan, shape, tile, block_rows=1, piece_tiles=piece_tiles)
    moved = work_traffic(work, shape, programs=device.processors)
    one = _launch(cost, tile, shape, *_pieces(work, tile), moved)
    return [one, _merge(cost, tile.block_m // MERGE_M, np.diff(work.merge_partial), shape, moved)]


def flatten(plan: Plan, shape: LayerShape, device: Device, cost: AttentionCost) -> list[Launch]:
    """DeFT-Flatten as this project has it (kernels/baselines/deft.py): equal chunks, then each row folds its path's."""
    tile = _tree_tile(plan, shape, device)
    rows = tile.rows(shape.group_size)
    cut = CUTS["deft_flatten"](plan)
    groups = make_groups(cut, plan, block_rows=rows, tile_pages=tile.block_n // plan.page_size)
    tiles = _tiles(groups.group_first, groups.group_mixed, groups.group_last, tile)
    moved = groups_traffic(plan, groups, shape, programs=device.processors)
    one = _launch(cost, tile, shape, *tiles, moved)
    return [one, _merge(cost, 1, np.diff(groups.pair_start), shape, moved)]


def fasttree(plan: Plan, shape: LayerShape) -> list[Launch]:
    """FastTree's two query tiles, a launch each, and its reduction over all rows and query heads.

    Raises ValueError as `fasttree_cut`, whose thresholds are those tuned for an H100.
    """
    cut = fasttree_cut(plan, shape.group_size, shape.num_kv_heads)
    rows = int(cut.rows.sum())
    partials = rows * shape.partial_row_bytes
    spilled = partials if partials > CACHE_BYTES else 0
    unique = plan.kv_tokens_read_tree * shape.kv_token_bytes
    launches = []
    for tile, chosen in ((FASTTREE_WIDE, cut.wide), (FASTTREE_NARROW, ~cut.wide)):
        if not chosen.any():
            continue
        tokens = cut.tokens[chosen]
        share = int(tokens.sum()) / int(cut.tokens.sum())
        launches.append(
            Launch(
                tile,
                plain=-(-tokens // 32) * (32 / UNIT),
                masked=np.zeros(len(tokens)),
                fixed=np.full(len(tokens), FASTTREE_PIECE),
                heads=shape.num_kv_heads,
                memory_bytes=share * (unique + spilled) + rows * share * shape.row_bytes,
                loaded_bytes=int(tokens.sum()) * shape.kv_token_bytes + share * partials,
            )
        )
    cycles, at_once, fixed, resident = FASTTREE_SLOTS
    launches.append(_reduction(cycles, at_once, fixed, resident, cut.slots, shape.num_heads, partials, spilled))
    return launches


def flash_apart(plan: Plan, shape: LayerShape) -> list[Launch]:
    """FlashAttention as FastTree's benchmark calls it: every row has a copy of its path, so nothing is shared.

    Taken to run at the memory's bandwidth, behind four dependent loads and its combining launch: assumed.
    """
    tokens = int((plan.row_position.astype(np.int64) + 1).sum())
    nothing = np.zeros(1)
    fixed = np.full(1, 4 * MEMORY_LATENCY)
    bound = tokens * shape.kv_token_bytes + 2 * plan.num_rows * shape.row_bytes
    free = TileCost(0, 0, 0, 0, 1)
    return [
        Launch(free, nothing, nothing, fixed, 1, memory_bytes=bound, loaded_bytes=bound),
        Launch(free, nothing, nothing, fixed, 1),
    ]


def _tree_tile(plan: Plan, shape: LayerShape, device: Device) -> Tile:
    return choose_tile(widest_tree(plan) * shape.group_size, shape.head_dim, shape.dtype, device.arch)


def _work(plan: Plan, shape: LayerShape, tile: Tile, *, block_rows: int | None = None, **how: int) -> Work:
    rows = block_rows or tile.rows(shape.group_size)
    return make_work(plan, block_rows=rows, tile_pages=tile.block_n // plan.page_size, **how)


def _pieces(work: Work, tile: Tile) -> tuple[Array, Array, Array]:
    return _tiles(work.piece_first, work.piece_mixed, work.piece_last, tile)


def _tiles(first: Int32, mixed: Int32, last: Int32, tile: Tile) -> tuple[Array, Array, Array]:
    """(plain, masked, 1) of every piece, tiles in units of 64 tokens."""
    unit = tile.block_n / UNIT
    return (mixed - first) * unit, (last - mixed) * unit, np.ones(len(first))


def _sums(values: Array, first: Array, count: Array) -> Array:
    """Sums of values[first : first + count]; 0 where count is."""
    before = np.concatenate([[0], np.cumsum(values)])
    sums: Array = before[first + count] - before[first]
    return sums


def _launch(
    cost: AttentionCost, tile: Tile, shape: LayerShape, plain: Array, masked: Array, pieces: Array, moved: Traffic
) -> Launch:
    spilled = moved.partials if moved.partials > CACHE_BYTES else 0
    small = moved.queries + moved.plan
    return Launch(
        cost.tiles[tile.block_m],
        plain,
        masked,
        pieces * cost.piece[tile.block_m],
        shape.num_kv_heads,
        memory_bytes=moved.kv + small + moved.out + spilled,
        loaded_bytes=moved.kv_loaded + small + moved.partials,
    )


def _merge(cost: AttentionCost, copies: int, slots: Array, shape: LayerShape, moved: Traffic) -> Launch:
    spilled = moved.partials if moved.partials > CACHE_BYTES else 0
    heads = shape.num_kv_heads * copies
    return _reduction(cost.slot, cost.slots_at_once, cost.merge, MERGE_RESIDENT, slots, heads, moved.partials, spilled)


def _reduction(
    cycles: float, at_once: int, fixed: float, resident: int, slots: Array, heads: int, partials: int, spilled: int
) -> Launch:
    """A program per entry of `slots`: it folds so many partial results, `at_once` in `cycles`."""
    return Launch(
        TileCost(cycles, 0, 0, 0, resident, overlapped=True),  # its latency is L2's already
        plain=-(-slots // at_once),
        masked=np.zeros(len(slots)),
        fixed=np.full(len(slots), fixed),
        heads=heads,
        memory_bytes=spilled,
        loaded_bytes=partials,
    )
