"""Every kernel compiles ahead of time for three architectures, spills no register, and fits in shared memory.

The whole table (`-m slow -s`) is every kernel, dtype, head size and tile shape; what always runs is a part of it.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context

import pytest
import torch

pytest.importorskip("triton")

from treereason.kernels.baselines.deft import deft_kernel, reduce_kernel
from treereason.kernels.baselines.sequence import sequence_kernel
from treereason.kernels.gpu.merge import MERGE_M, SLOTS, merge_kernel
from treereason.kernels.gpu.store_kv import store_kv_kernel
from treereason.kernels.gpu.tile import BLOCK_MS, SHARED_LIMIT, Tile, block_d, choose_tile
from treereason.kernels.gpu.tree_decode import tree_decode_kernel
from treereason.kernels.gpu.tree_extend import tree_extend_kernel
from treereason.kernels.tools.compile_report import TARGETS, Report, compile_report

TILED = {
    "tree_decode": tree_decode_kernel,
    "tree_extend": tree_extend_kernel,
    "sequence": sequence_kernel,
    "deft": deft_kernel,
}
SMALL = {"merge": merge_kernel, "deft_reduce": reduce_kernel, "store_kv": store_kv_kernel}
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
HEAD_DIMS = (32, 64, 96, 128, 256)


@dataclass(frozen=True)
class Case:
    """features: window, softcap and sinks on, and 7 query heads a KV head; else none, and 4."""

    kernel: str
    target: str
    dtype: str
    head_dim: int
    tile: Tile
    features: bool


def tiles(target: str, dtype: str, head_dim: int) -> list[Tile]:
    """All that choose_tile may answer."""
    return list(dict.fromkeys(choose_tile(rows, head_dim, DTYPES[dtype], target) for rows in BLOCK_MS))


def whole_matrix() -> Iterator[Case]:
    for target in TARGETS:
        for dtype in DTYPES:
            for head_dim in HEAD_DIMS:
                every = tiles(target, dtype, head_dim)
                for features in (False, True):
                    for tile in every:
                        yield Case("tree_decode", target, dtype, head_dim, tile, features)
                    yield Case("tree_extend", target, dtype, head_dim, every[-1], features)
                    yield Case("deft", target, dtype, head_dim, every[-1], features)
                    yield Case("sequence", target, dtype, head_dim, every[0], features)
                for small in SMALL:
                    yield Case(small, target, dtype, head_dim, every[-1], features=True)


A_PART = (
    ("tree_decode", "sm_80", "fp32", 256),
    ("tree_decode", "gfx942", "bf16", 96),
    ("tree_extend", "sm_120", "bf16", 64),
    ("sequence", "sm_90", "bf16", 128),
    ("deft", "sm_80", "fp16", 128),
    ("merge", "gfx942", "bf16", 32),
    ("deft_reduce", "sm_120", "bf16", 128),
    ("store_kv", "sm_90", "bf16", 32),
)
"""Every kernel, target, dtype and head size; what copies tiles ahead is tree_decode for sm_90, below."""


def a_part() -> Iterator[Case]:
    """A_PART at the tiles that need most registers."""
    for kernel, target, dtype, head_dim in A_PART:
        every = tiles(target, dtype, head_dim)
        tile = every[0 if kernel == "sequence" else -1]
        yield Case(kernel, target, dtype, head_dim, tile, features=kernel == "tree_decode")


def report(case: Case, *, loops: bool = False) -> Report:
    head_dim, tile = case.head_dim, case.tile
    wide = {"D": head_dim, "BLOCK_D": block_d(head_dim)}
    groups = {"G": 7 if case.features else 4}
    sinks = {"SINKS": case.features}
    options = {"num_warps": 4, "num_stages": 2}
    kernel = {**TILED, **SMALL}[case.kernel]
    if case.kernel == "store_kv":
        constants = {**wide, "BLOCK_H": 8}
    elif case.kernel == "merge":
        constants = {**wide, **groups, **sinks, "BLOCK_M": tile.block_m, "MERGE_M": MERGE_M, "SLOTS": SLOTS}
        options = replace(tile, warps=MERGE_M).options()
    elif case.kernel == "deft_reduce":
        constants = {**wide, **groups, **sinks, "BLOCK_M": tile.block_m, "REDUCE_M": 16}
    else:
        shape = {"PAGE": 16, "BLOCK_M": tile.block_m, "BLOCK_N": tile.block_n}
        constants = {**wide, **groups, **shape, "WINDOW": case.features, "SOFTCAP": case.features}
        constants |= {} if case.kernel == "deft" else sinks
        options = tile.options()
    return compile_report(kernel, case.target, DTYPES[case.dtype], constants, options, loops=loops)


@pytest.fixture(scope="module")
def compilers() -> Iterator[Executor]:
    """Processes for `check`."""
    workers = int(os.environ.get("TREEREASON_COMPILE_WORKERS", "2"))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield pool


def reports_of(cases: list[Case], compilers: Executor, *, loops: bool = False, at_once: int = 2) -> list[Report]:
    """at_once: how many cases a process is given; one that is given none is not started."""
    with pytest.MonkeyPatch.context() as patch:
        # Nothing compiles where Triton interprets, so a process begins without what tests/conftest.py asks for.
        patch.delenv("TRITON_INTERPRET", raising=False)
        return list(compilers.map(partial(report, loops=loops), cases, chunksize=at_once))


def check(cases: list[Case], compilers: Executor, at_once: int = 2) -> None:
    reports = reports_of(cases, compilers, at_once=at_once)
    print(f"\n{'kernel':12} {'target':7} {'type':5} {'D':>4} {'tile':>8} {'warps':>5} {'with':>9} ", end="")
    print(f"{'registers':>9} {'spilled':>8} {'shared':>8}")
    for case, found in zip(cases, reports, strict=True):
        tile = f"{case.tile.block_m}x{case.tile.block_n}" if case.kernel in TILED else "-"
        warps = case.tile.warps if case.kernel in TILED else 4
        features = "features" if case.features else "-"
        print(
            f"{case.kernel:12} {case.target:7} {case.dtype:5} {case.head_dim:4} {tile:>8} {warps:5} {features:>9} ",
            end="",
        )
        print(f"{found.registers:9} {found.spilled:8} {found.shared:8}")
    spilling = [case for case, found in zip(cases, reports, strict=True) if found.spilled]
    oversized = [c for c, found in zip(cases, reports, strict=True) if found.shared > SHARED_LIMIT[c.target]]
    assert not spilling
    assert not oversized


def test_a_part_of_the_matrix(compilers: Executor) -> None:
    """One test and one process: what each imports takes longer than a case."""
    cases = list(a_part())
    for told, every in zip(zip(*A_PART, strict=True), ({*TILED, *SMALL}, TARGETS, DTYPES, HEAD_DIMS), strict=True):
        assert set(told) == set(every)
    check(cases, compilers, at_once=len(cases))


@pytest.mark.slow
@pytest.mark.parametrize("target", ["sm_80", "sm_90", "sm_120"])
def test_the_next_tile_is_copied_while_this_one_is_computed(target: str, compilers: Executor) -> None:
    """Read off the machine code, all features on: a loop may not wait for the copies that it started last."""
    tiles = [choose_tile(query_rows, 128, torch.bfloat16, target) for query_rows in (16, 64)]
    cases = [Case("tree_decode", target, "bf16", 128, tile, features=True) for tile in tiles]
    for tile, found in zip(tiles, reports_of(cases, compilers, loops=True), strict=True):
        assert not found.serialised
        assert not found.spilled
        plain, masked = found.loops
        for loop in (plain, masked):
            assert loop.tile_copies * 4 * 32 * 16 == 2 * tile.block_n * 128 * 2, "an iteration copies a tile"
            assert loop.copies_in_flight >= loop.copy_groups > 0
        # A load a page, not one a token: the slot, and for a mask who sees it, twice, and where it starts.
        assert plain.index_loads == tile.pages(16)
        assert masked.index_loads == 4 * tile.pages(16)


@pytest.mark.slow
def test_without_a_third_stage_nothing_overlaps(compilers: Executor) -> None:
    """That the machine code tells the difference."""
    tile = replace(choose_tile(64, 128, torch.bfloat16, "sm_90"), stages=2)
    case = Case("tree_decode", "sm_90", "bf16", 128, tile, features=True)
    (found,) = reports_of([case], compilers, loops=True)
    assert [loop.copies_in_flight for loop in found.loops] == [0, 0]


@pytest.mark.slow
def test_the_whole_matrix(compilers: Executor) -> None:
    check(list(whole_matrix()), compilers)


def test_no_size_that_changes_between_steps_is_compiled_in() -> None:
    constants = {"G", "D", "PAGE", "BLOCK_M", "BLOCK_N", "BLOCK_D", "BLOCK_H", "MERGE_M", "SLOTS", "REDUCE_M"}
    switches = {"WINDOW", "SOFTCAP", "SINKS"}
    for kernel in (*TILED.values(), *SMALL.values()):
        parameters = inspect.signature(kernel.fn).parameters.values()
        compiled_in = {p.name for p in parameters if p.annotation == "tl.constexpr"}
        assert compiled_in
        assert compiled_in <= constants | switches
