"""How FastTree cuts a tree into pairs of queries and KV (MLSys 2025): enough of it to count its work.

From the root down, each child either becomes a part of its own, which costs its rows a partial result more, or takes
the KV above along, which reads that KV twice and pads queries differently. The cheaper one by FastTree's own cost is
taken, greedily. Long parts are cut into chunks of KV, shorter ones where too few programs would run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from treereason.kernels.plan import Int32, Plan

# As its published benchmark sets them, for an H100: weights of padded queries, padded KV and reductions; tokens of a KV
# tile; tokens of a chunk, and of one where programs are few; the programs that are few, wide and narrow parts.
ALPHA, BETA, GAMMA = 0.66, 0.33, 0.1
KV_TILE = 32
CHUNKS = (1_024, 128)
FEW_CHUNKS = (132, 528)
FEW_TILES = (132, 132)


@dataclass(frozen=True)
class FastTreeCut:
    """rows, tokens: [U] of each part. wide: [U] bool, whether it is run by the wide query tile.

    slots: [N] parts each row folds. tile_rows: (wide, narrow) rows of a query tile.
    """

    rows: Int32
    tokens: Int32
    wide: np.typing.NDArray[np.bool_]
    slots: Int32
    tile_rows: tuple[int, int]


def parents(plan: Plan) -> list[int]:
    """Of each node the one it continues, -1 for a root; read off positions and rows."""
    end = plan.node_start + plan.node_tokens
    above: list[int] = []
    path: list[int] = []
    for node in range(plan.num_nodes):
        lo, hi = plan.node_lo[node], plan.node_hi[node]
        while path and not (
            plan.node_lo[path[-1]] <= lo and hi <= plan.node_hi[path[-1]] and end[path[-1]] == plan.node_start[node]
        ):
            path.pop()
        above.append(path[-1] if path else -1)
        path.append(node)
    return above


def one_tree(plan: Plan) -> bool:
    """Whether the plan is what FastTree takes: one tree, whose leaves, and only they, have one row each."""
    own = np.bincount(np.array(parents(plan)) + 1, minlength=plan.num_nodes + 1)
    leaves = own[1:] == 0
    narrow = plan.node_hi - plan.node_lo == 1
    return int(own[0]) == 1 and bool(narrow[leaves].all()) and int(leaves.sum()) == plan.num_rows


def fasttree_cut(plan: Plan, group_size: int, num_kv_heads: int) -> FastTreeCut:
    """Raises ValueError where the plan is no single tree that decodes at its leaves.

    group_size: query heads of a KV head.
    """
    if not one_tree(plan):
        raise ValueError("FastTree takes one tree whose leaves decode one row each")
    tile_rows = max(1, 64 // group_size), max(1, 16 // group_size)
    chunks = [CHUNKS[0], CHUNKS[0]]
    below, tokens = _parts(plan, group_size, tile_rows)
    few = _programs(below, tokens, tile_rows, chunks, num_kv_heads)
    too_few = [0 < few[phase] < FEW_CHUNKS[phase] for phase in (0, 1)]
    if any(too_few):
        chunks = [CHUNKS[1] if short else CHUNKS[0] for short in too_few]
        few = _programs(below, tokens, tile_rows, chunks, num_kv_heads)
        if 0 < few[0] < FEW_TILES[0]:
            tile_rows = tile_rows[1], tile_rows[1]
        elif 0 < few[1] < FEW_TILES[1]:
            tile_rows = tile_rows[0], tile_rows[0]
        below, tokens = _parts(plan, group_size, tile_rows)
    return _cut(plan, below, tokens, tile_rows, chunks)


def _parts(plan: Plan, group_size: int, tile_rows: tuple[int, int]) -> tuple[list[list[int]], Int32]:
    """(rows that each node's part serves, its KV tokens): children that took the KV along serve their own."""

    def cost(rows: int, kv: int) -> float:
        tile = tile_rows[0 if rows > tile_rows[1] else 1]
        return group_size * (ALPHA * (-rows % tile) * kv + BETA * max(0, KV_TILE - kv) * rows)

    children: list[list[int]] = [[] for _ in range(plan.num_nodes)]
    above = parents(plan)
    for node in range(1, plan.num_nodes):
        children[above[node]].append(node)
    tokens = plan.node_tokens.copy()
    serves = [list(range(lo, hi)) for lo, hi in zip(plan.node_lo.tolist(), plan.node_hi.tolist(), strict=True)]
    level = [0]
    while level:
        for node in level:
            here = int(tokens[node])
            left = len(serves[node])
            for child in children[node]:
                rows, own = len(serves[child]), int(tokens[child])
                apart = cost(left, here) + cost(rows, own) + GAMMA * rows
                along = cost(left - rows, here) + cost(rows, own + here)
                if apart > along:
                    left -= rows
                    tokens[child] = own + here
                    taken = set(serves[child])
                    serves[node] = [row for row in serves[node] if row not in taken]
        level = [child for node in level for child in children[node]]
    return serves, tokens


def _programs(
    serves: list[list[int]], tokens: Int32, tile_rows: tuple[int, int], chunks: list[int], num_kv_heads: int
) -> list[int]:
    """Programs of the wide and of the narrow parts."""
    found = [0, 0]
    for rows, kv in zip(map(len, serves), tokens.tolist(), strict=True):
        if rows:
            phase = 0 if rows > tile_rows[1] else 1
            found[phase] += -(-kv // chunks[phase]) * -(-rows // tile_rows[phase]) * num_kv_heads
    return found


def _cut(
    plan: Plan, serves: list[list[int]], tokens: Int32, tile_rows: tuple[int, int], chunks: list[int]
) -> FastTreeCut:
    rows_of: list[int] = []
    tokens_of: list[int] = []
    slots = np.zeros(plan.num_rows, dtype=np.int32)
    for served, kv in zip(serves, tokens.tolist(), strict=True):
        if not served:
            continue
        chunk = chunks[0 if len(served) > tile_rows[1] else 1]
        slots[served] += -(-kv // chunk)
        for first in range(0, kv, chunk):
            for row in range(0, len(served), tile_rows[0]):
                rows_of.append(min(tile_rows[0], len(served) - row))
                tokens_of.append(min(chunk, kv - first))
    rows = np.array(rows_of, dtype=np.int32)
    return FastTreeCut(rows, np.array(tokens_of, dtype=np.int32), rows > tile_rows[1], slots, tile_rows)
