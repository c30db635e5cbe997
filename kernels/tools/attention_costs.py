"""What the attention kernels cost in cycles, by who says so. What the words mean: cost_model.py.

`REVIEWED` is what the emitted code of tree_decode promised before any run, `OVERLAPPED` the same for a version that
keeps the next tile's copies in flight, `FIRST_ROWS` what the first rows of an H200 say of the former.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from treereason.kernels.tools.cost_model import L2_LATENCY, MEMORY_LATENCY, TileCost


@dataclass(frozen=True)
class AttentionCost:
    """tiles: by rows of the query tile. piece: cycles to begin and end a piece, by rows of the query tile.

    slot: cycles for `slots_at_once` partial results in the merge. merge: cycles to begin a program of it.
    """

    source: str
    tiles: Mapping[int, TileCost]
    piece: Mapping[int, float]
    slot: float
    slots_at_once: int
    merge: float

    def with_resident(self, resident: int) -> AttentionCost:
        """With `resident` programs a processor, whatever their rows."""
        tiles = {rows: TileCost(**{**vars(tile), "resident": resident}) for rows, tile in self.tiles.items()}
        return AttentionCost(**{**vars(self), "tiles": tiles})


def _every(cycles: float) -> dict[int, float]:
    return dict.fromkeys((16, 32, 64, 128), cycles)


# Review, per 64 tokens: 64x64 2,239 cycles, 3,084 masked, 196 registers, so two of 4 warps a processor; 16x64 2,117 and
# 2,723, 204 registers. It has no figures for 32 and 128 rows: assumed 16's, and 64's times the trial's 128 / 64.
# A piece: four dependent loads from memory (review). The merge: two L2 latencies a slot (review) after three loads.
REVIEWED = AttentionCost(
    source="review of the emitted code, 2026-11-25",
    tiles={
        16: TileCost.reviewed(2_117, 2_723, 2),
        32: TileCost.reviewed(2_117, 2_723, 2),
        64: TileCost.reviewed(2_239, 3_084, 2),
        128: TileCost.reviewed(2_239 * 1_396 / 1_540, 3_084 * 1_852 / 2_005, 1),
    },
    piece=_every(4 * MEMORY_LATENCY),
    slot=2 * L2_LATENCY,
    slots_at_once=1,
    merge=3 * MEMORY_LATENCY,
)

# Review's trial: 5 stages, index loads a page: 64x64 1,540 and 2,005 cycles, 128x64 1,396 and 1,852, 16x64 2,057 and
# 2,203; 232 to 255 registers, so two programs of 4 warps a processor, with fewer stages. In company: assumed the first
# rows' busy cycles, less in the measure of the review's own figures, so that it gains 16 rows a third and 64 nothing.
# 32 rows: assumed 16's. One descriptor a piece, so two dependent loads. Sixteen slots of the merge: 1,575 cycles.
OVERLAPPED = AttentionCost(
    source="review of a trial version, 2026-11-25",
    tiles={
        16: TileCost(2_057, 2_203, 1_331, 1_424, 2, overlapped=True),
        32: TileCost(2_057, 2_203, 1_331, 1_424, 2, overlapped=True),
        64: TileCost(1_540, 2_005, 1_540, 1_848, 2, overlapped=True),
        128: TileCost.reviewed(1_396, 1_852, 1, overlapped=True),
    },
    piece=_every(2 * MEMORY_LATENCY),
    slot=1_575,
    slots_at_once=16,
    merge=2 * MEMORY_LATENCY,
)

# Rows of an H200, 2026-11-26, triton 3.6, from tree_extend, whose one launch has a program a row block. 128 rows alone:
# 50 branches on 20k less 50 on 4k, 32/8, are 250 plain tiles: 2.366 us; what 107 masked ones leave: 3.416 us. 64 rows
# alone: the same at 32/32, 1.998 and 2.477 us. 64 rows in twos: 64 trees, 32/8, 2.985 us a tile, so 0.654 of alone.
# 16 rows alone: one tree, 32/32, 2.009 us a tile, masked over plain as in the review; in company what the sequence
# kernel's least time a tile says (64 trees, 32/32, 0.78 us a tile and processor). 32 rows: assumed 16's.
# Pieces, from deft_flatten, two tiles a program: 50 on 20k at 32/8, 64 trees at 32/8 and at 32/32. Merge: review.
FIRST_ROWS = AttentionCost(
    source="rows of an H200, 2026-11-26",
    tiles={
        16: TileCost(3_160, 3_774, 1_370, 1_636, 2),
        32: TileCost(3_160, 3_774, 1_370, 1_636, 2),
        64: TileCost(3_507, 4_348, 2_293, 2_843, 2),
        128: TileCost(4_152, 5_995, 4_152, 5_995, 1),
    },
    piece={16: 3_350, 32: 3_350, 64: 6_850, 128: 7_700},
    slot=2 * L2_LATENCY,
    slots_at_once=1,
    merge=3 * MEMORY_LATENCY,
)

# The rows those figures are taken from: the line's date, and (case, query heads, KV heads, provider). Errors there say
# nothing.
FITTED_LINE = "2026-11-26T09:07:17+00:00"
FITTED = {
    ("50 branches on 20k", 32, 8, "tree_extend"),
    ("50 branches on 4k", 32, 8, "tree_extend"),
    ("50 branches on 20k", 32, 32, "tree_extend"),
    ("50 branches on 4k", 32, 32, "tree_extend"),
    ("64 trees of 10 on 1.2k", 32, 8, "tree_extend"),
    ("1 trees of 10 on 1.2k", 32, 32, "tree_extend"),
    ("64 trees of 10 on 1.2k", 32, 32, "sequence"),
    ("50 branches on 20k", 32, 8, "deft_flatten"),
    ("64 trees of 10 on 1.2k", 32, 8, "deft_flatten"),
    ("64 trees of 10 on 1.2k", 32, 32, "deft_flatten"),
}

# FastTree's kernel, review: 64x32 2,256 cycles per 64 tokens, 150 registers, three a processor; a latency for each 32
# tokens. Its 16-row tile: assumed the same cycles, six a processor. SGLang's grouped decode, 16x32, has 3,318 in the
# review, but then the published bar of 0.33 would be 0.51 (benchmarks/cost_model.py), and our 16-row tile as well took
# fewer cycles than the review gave it. Its loads before the first tile: queries' and KV's offsets, entries, queries
# (its source). Four slots of its reduction at once, two L2 latencies each time, after its row's offset and entries; 16
# programs a processor assumed.
FASTTREE_WIDE = TileCost(2_256 + 2 * (L2_LATENCY + MEMORY_LATENCY), 0, 2_256, 0, 3)
FASTTREE_NARROW = TileCost(2_256 + 2 * (L2_LATENCY + MEMORY_LATENCY), 0, 2_256, 0, 6)
FASTTREE_PIECE = 3 * MEMORY_LATENCY
FASTTREE_SLOTS = (2 * L2_LATENCY, 4, 2 * MEMORY_LATENCY, 16)

# A merge program of ours has 4 warps: eight a processor assumed.
MERGE_RESIDENT = 8
