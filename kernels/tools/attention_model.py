"""Seconds of one attention call by the cost model, for tree_decode and what it is compared with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from treereason.kernels.baselines.groups import CUTS, make_groups
from treereason.kernels.gpu.device_work import Capacity
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
    FLATTEN_SLOT,
    FLATTEN_SLOT_SPILLED,
    FLATTEN_SLOTS,
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


def tree_decode(plan: Plan, shape: LayerShape, device: Device, cost: AttentionCost) -> list[Launch]:
    """Spans of equal cost over a persistent grid, two programs a processor or one (make_work.py), then the merge."""
    tile = _tree_tile(plan, shape, device)
    few, many = (max(1, each * device.processors // shape.num_kv_heads) for each in (1, 2))
    work = _work(plan, shape, tile, num_spans=many, few_spans=few)
    count = np.diff(work.span_piece)
    first, count = work.span_piece[:-1][count > 0], count[count > 0]  # empty spans keep nobody company
    plain, masked, fixed = (_sums(a, first, count) for a in _pieces(work, tile, cost))
    moved = work_traffic(work, shape, programs=len(count) * shape.num_kv_heads)
    one = _launch(cost, tile, shape, plain, masked, fixed, moved)
    return [one, _merge(cost, tile, work, shape, moved)]


def tree_extend(plan: Plan, shape: LayerShape, device: Device, cost: AttentionCost) -> list[Launch]:
    """A program a row block and KV head, longest first, no merge."""
    tile = _tree_tile(plan, shape, device)
    work = _work(plan, shape, tile)
    moved = work_traffic(work, shape, programs=_at_once(cost, tile, device))
    return [_launch(cost, tile, shape, *_pieces(work, tile, cost), moved)]


def sequence(plan: Plan, shape: LayerShape, device: Device, cost: AttentionCost) -> list[Launch]:
    """Every row its own path, split over programs (kernels/baselines/sequence.py), then the merge."""
    tile = choose_tile(shape.group_size, shape.head_dim, shape.dtype, device.arch)
    tiles = int((plan.row_position + 1).sum()) // tile.block_n + plan.num_rows
    piece_tiles = max(256 // tile.block_n, tiles * shape.num_kv_heads // (4 * device.processors))
    work = _work(plan, shape, tile, block_rows=1, piece_tiles=piece_tiles)
    moved = work_traffic(work, shape, programs=_at_once(cost, tile, device))
    one = _launch(cost, tile, shape, *_pieces(work, tile, cost), moved)
    return [one, _merge(cost, tile, work, shape, moved)]


def flatten(plan: Plan, shape: LayerShape, device: Device, cost: AttentionCost) -> list[Launch]:
    """DeFT-Flatten as this project has it (kernels/baselines/deft.py): equal chunks, then each row folds its path's."""
    tile = _tree_tile(plan, shape, device)
    rows = tile.rows(shape.group_size)
    cut = CUTS["deft_flatten"](plan)
    groups = make_groups(cut, plan, block_rows=rows, tile_pages=tile.pages(plan.page_size))
    tiles = _tiles(groups.group_first, groups.group_mixed, groups.group_last, tile)
    fixed = np.full(groups.num_groups, cost.piece[tile.block_m] + cost.partial[tile.block_m])
    moved = groups_traffic(plan, groups, shape, programs=_at_once(cost, tile, device))
    one = _launch(cost, tile, shape, *tiles, fixed, moved)
    slots, heads = np.diff(groups.pair_start), shape.num_kv_heads
    spilled = _spilled(moved.partials)
    cycles = FLATTEN_SLOT_SPILLED if spilled else FLATTEN_SLOT
    return [one, _reduction(cycles, *FLATTEN_SLOTS, slots, heads, moved.partials, spilled)]


def fasttree(plan: Plan, shape: LayerShape) -> list[Launch]:
    """FastTree's two query tiles, a launch each, and its reduction over all rows and query heads.

    Raises ValueError as `fasttree_cut`, whose thresholds are those tuned for an H100.
    """
    cut = fasttree_cut(plan, shape.group_size, shape.num_kv_heads)
    rows = int(cut.rows.sum())
    partials = rows * shape.partial_row_bytes
    spilled = _spilled(partials)
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
    launches.append(_reduction(*FASTTREE_SLOTS, cut.slots, shape.num_heads, partials, spilled))
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
    return make_work(plan, block_rows=rows, tile_pages=tile.pages(plan.page_size), **how)


def _pieces(work: Work, tile: Tile, cost: AttentionCost) -> tuple[Array, Array, Array]:
    """(plain, masked, cycles beside the tiles) of every piece, tiles in units of 64 tokens."""
    plain, masked = _tiles(work.piece_first, work.piece_mixed, work.piece_last, tile)
    return plain, masked, cost.piece[tile.block_m] + (work.piece_partial >= 0) * cost.partial[tile.block_m]


def _tiles(first: Int32, mixed: Int32, last: Int32, tile: Tile) -> tuple[Array, Array]:
    unit = tile.block_n / UNIT
    return (mixed - first) * unit, (last - mixed) * unit


def _sums(values: Array, first: Array, count: Array) -> Array:
    """Sums of values[first : first + count]; 0 where count is."""
    before = np.concatenate([[0], np.cumsum(values)])
    sums: Array = before[first + count] - before[first]
    return sums


def _launch(
    cost: AttentionCost, tile: Tile, shape: LayerShape, plain: Array, masked: Array, fixed: Array, moved: Traffic
) -> Launch:
    small = moved.queries + moved.plan
    return Launch(
        cost.tiles[tile.block_m],
        plain,
        masked,
        fixed,
        shape.num_kv_heads,
        memory_bytes=moved.kv + small + moved.out + _spilled(moved.partials),
        loaded_bytes=moved.kv_loaded + small + moved.partials,
    )


def _at_once(cost: AttentionCost, tile: Tile, device: Device) -> int:
    """Programs that the device holds."""
    return device.processors * cost.tiles[tile.block_m].resident


def _spilled(partials: int) -> int:
    """Bytes of partial results that memory sees."""
    return partials if partials > CACHE_BYTES else 0


def _merge(cost: AttentionCost, tile: Tile, work: Work, shape: LayerShape, moved: Traffic) -> Launch:
    """A program per MERGE_M tile rows of as many blocks as the buffer has room for; most find nothing to fold."""
    used = -(-(work.merge_hi - work.merge_lo) * shape.group_size // MERGE_M)
    grid = Capacity.of(work).merges * tile.block_m // MERGE_M
    slots = np.repeat(np.diff(work.merge_partial), used)
    idle = np.zeros(grid - len(slots))
    return Launch(
        TileCost(cost.slot, 0, cost.slot, 0, MERGE_RESIDENT, overlapped=True),
        plain=np.append(slots, idle),
        masked=np.zeros(grid),
        fixed=np.append(np.full(len(slots), cost.merge), idle + cost.idle),
        heads=shape.num_kv_heads,
        memory_bytes=_spilled(moved.partials),
        loaded_bytes=moved.partials,
    )


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
