"""What the attention kernels cost in cycles, by who says so. What the words mean: cost_model.py.

`REVIEWED` is what the emitted code of a trial with copies in flight promised before any run, `ROWS` what rows of an
H200 say of the kernels that came of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from treereason.kernels.tools.cost_model import L2_LATENCY, MEMORY_LATENCY, TileCost


@dataclass(frozen=True)
class AttentionCost:
    """By rows of the query tile: tiles; piece, cycles to begin and end one; partial, more for one that leaves a partial
    result.

    slot: cycles that a program of the merge keeps its processor busy with for one partial result. merge: cycles to
    begin and end it. idle: cycles of one that finds nothing to fold.
    """

    source: str
    tiles: Mapping[int, TileCost]
    piece: Mapping[int, float]
    partial: Mapping[int, float]
    slot: float
    merge: float
    idle: float


# Programs a processor, counted: sm_90, triton 3.7.1, 4 warps and 3 stages. 16 rows, 141 to 153 registers and 72 KB of
# shared memory; 32 rows, 192 to 240 and 78 KB; 64 rows, 220 to 255 and 115 KB. (tree_decode's 16 rows: 212 registers,
# but its grid has two a processor at most.)
_RESIDENT = {16: 3, 32: 2, 64: 2}

# Review's trial: 5 stages, index loads a page: 64x64 1,540 and 2,005 cycles, 16x64 2,057 and 2,203. In company: assumed
# the busy cycles of the first rows (an H200, kernels of 40a724b), less in the measure of the review's own figures, so
# that it gains 16 rows a third and 64 nothing. 32 rows: assumed 16's. One descriptor a piece, so two dependent loads.
# Sixteen slots of the merge: 1,575 cycles. Idle: assumed one load from memory.
REVIEWED = AttentionCost(
    source="review of a trial version, 2026-11-25",
    tiles={
        16: TileCost(2_057, 2_203, 1_331, 1_424, _RESIDENT[16], overlapped=True),
        32: TileCost(2_057, 2_203, 1_331, 1_424, _RESIDENT[32], overlapped=True),
        64: TileCost(1_540, 2_005, 1_540, 1_848, _RESIDENT[64], overlapped=True),
    },
    piece=dict.fromkeys((16, 32, 64), 2 * MEMORY_LATENCY),
    partial=dict.fromkeys((16, 32, 64), 0),
    slot=1_575 / 16,
    merge=2 * MEMORY_LATENCY,
    idle=MEMORY_LATENCY,
)

# Rows of an H200, 2026-11-26, triton 3.6: least squares of logarithms over FITTED, rounded. Which row says what: plain
# tiles of 64 rows alone, the two of tree_extend on 50 branches; in company, its 1,1024 / 2048,32; masked ones and
# pieces, its widths of 16. 16 rows alone, tree_extend at 32/32; in company and their pieces, sequence. 32 rows: assumed
# 16's. Partial results: deft_flatten. The merge: the three of tree_decode that split blocks; idle, its fourth.
ROWS = AttentionCost(
    source="rows of an H200, 2026-11-26",
    tiles={
        16: TileCost(2_240, 2_240, 990, 1_150, _RESIDENT[16], overlapped=True),
        32: TileCost(2_240, 2_240, 990, 1_150, _RESIDENT[32], overlapped=True),
        64: TileCost(1_640, 1_670, 1_180, 1_670, _RESIDENT[64], overlapped=True),
    },
    piece={16: 8_200, 32: 8_200, 64: 4_130},
    partial={16: 4_300, 32: 4_300, 64: 3_470},
    slot=50,
    merge=1_250,
    idle=550,
)

# The rows those figures are taken from: dates of their lines, and (case, query heads, KV heads, provider). Errors there
# say nothing. The last gave the bandwidth of L2 (cost_model.py).
FITTED_LINES = {"2026-11-26T10:31:41+00:00", "2026-11-26T10:32:05+00:00"}
FITTED = {
    ("50 branches on 20k", 16, 1, "tree_extend"),
    ("50 branches on 4k", 16, 1, "tree_extend"),
    ("1,1024 / 2048,32", 32, 8, "tree_extend"),
    ("widths 1-2-4-..-128-1024 of 16", 16, 1, "tree_extend"),
    ("widths 1-2-4-..-128-1024 of 16", 32, 8, "tree_extend"),
    ("1 trees of 10 on 1.2k", 32, 32, "tree_extend"),
    ("set128ToT search 4 step 402", 32, 32, "tree_extend"),
    ("set128ToT 47 searches at step 803", 32, 8, "sequence"),
    ("widths 1-2-4-..-128-1024 of 16", 32, 32, "sequence"),
    ("1 trees of 10 on 1.2k", 32, 8, "sequence"),
    ("1,1024 / 2048,32", 32, 8, "tree_decode"),
    ("1 trees of 10 on 1.2k", 32, 8, "tree_decode"),
    ("50 branches on 4k", 32, 8, "tree_decode"),
    ("50 branches on 20k", 16, 1, "tree_decode"),
    ("50 branches on 20k", 16, 1, "deft_flatten"),
    ("50 branches on 4k", 32, 8, "deft_flatten"),
    ("1,1024 / 2048,32", 32, 32, "sequence"),
}

# A merge program of ours: 2 warps of 91 registers, counted.
MERGE_RESIDENT = 10

# DeFT-Flatten's reduction: two L2 latencies a partial result, one after another, behind three loads (review); 1,610
# cycles where partial results went to memory (its rows of FITTED). 4 warps of 48 registers, counted.
FLATTEN_SLOT = 2 * L2_LATENCY
FLATTEN_SLOT_SPILLED = 1_610
FLATTEN_SLOTS = (1, 3 * MEMORY_LATENCY, 10)

# FastTree's kernel, review: 64x32 2,256 cycles per 64 tokens, 150 registers, three a processor; a latency for each 32
# tokens. Its 16-row tile: assumed the same cycles, six a processor. SGLang's grouped decode, 16x32, has 3,318 in the
# review, but then the published bar of 0.33 would be 0.47 (benchmarks/cost_model.py), and our 16-row tile as well took
# fewer cycles than the review gave it. Its loads before the first tile: queries' and KV's offsets, entries, queries
# (its source). Four slots of its reduction at once, two L2 latencies each time, after its row's offset and entries; 16
# programs a processor assumed.
FASTTREE_WIDE = TileCost(2_256 + 2 * (L2_LATENCY + MEMORY_LATENCY), 0, 2_256, 0, 3)
FASTTREE_NARROW = TileCost(2_256 + 2 * (L2_LATENCY + MEMORY_LATENCY), 0, 2_256, 0, 6)
FASTTREE_PIECE = 3 * MEMORY_LATENCY
FASTTREE_SLOTS = (2 * L2_LATENCY, 4, 2 * MEMORY_LATENCY, 16)
