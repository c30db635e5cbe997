"""The sampling kernels compile ahead of time for four architectures, and their code is what their design relies on.

The whole table (`-m slow -s`) is every dtype, several vocabularies, with and without cuts; what always runs is a part.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import pytest
import torch

pytest.importorskip("triton")

from triton import cdiv, next_power_of_2

from treereason.kernels.gpu.sample import IDS_PER_PART, STAGES, Tile, sample_finish_kernel, sample_parts_kernel
from treereason.kernels.gpu.tile import SHARED_LIMIT
from treereason.kernels.tools.compile_report import TARGETS, Report, compile_report

LARGE = 128_256
DTYPES = (torch.bfloat16, torch.float16, torch.float32)
VOCABULARIES = (1, 5, 16, 64, 100, 256, 300, 1000, 2000, 32_000, 262_144)


class Case(NamedTuple):
    """kernel: "parts" or "finish". num_ids: of the vocabulary."""

    kernel: str
    target: str
    dtype: torch.dtype
    num_ids: int
    cuts: bool


def report(case: Case) -> Report:
    tile = Tile.of(case.num_ids, whole_rows=case.cuts and case.kernel == "finish")
    constants = {"ROWS": tile.rows, "BLOCK": tile.block, "STAGES": STAGES, "CUTS": case.cuts}
    if case.kernel == "parts":
        kernel, more = sample_parts_kernel, {"PART": IDS_PER_PART}
    else:
        kernel, more = sample_finish_kernel, {"PARTS": next_power_of_2(cdiv(case.num_ids, IDS_PER_PART))}
    return compile_report(kernel, case.target, case.dtype, constants | more, tile.options(case.target))


def check(cases: list[Case]) -> dict[Case, Report]:
    workers = int(os.environ.get("TREEREASON_COMPILE_WORKERS", "2"))
    with (
        pytest.MonkeyPatch.context() as patch,
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
    ):
        # Nothing compiles where Triton interprets, so a process begins without what tests/conftest.py asks for.
        patch.delenv("TRITON_INTERPRET", raising=False)
        reports = dict(zip(cases, pool.map(report, cases, chunksize=2), strict=True))
    for case, found in reports.items():
        print(*case, found)  # noqa: T201
    assert [case for case, found in reports.items() if found.spilled] == []
    assert [case for case, found in reports.items() if found.shared > SHARED_LIMIT[case.target]] == []
    return reports


@pytest.mark.slow
def test_a_part_of_the_table_spills_nothing_and_its_code_is_as_planned() -> None:
    cases = [Case("finish", target, torch.bfloat16, LARGE, cuts=True) for target in TARGETS]
    cases += [Case("parts", target, torch.bfloat16, LARGE, cuts=True) for target in TARGETS]
    plain = Case("parts", "sm_90", torch.bfloat16, LARGE, cuts=False)
    reports = check([*cases, plain])
    for case in (*cases, plain):
        if case.target.startswith("sm"):
            code = reports[case].code
            # The logarithm of the noise is the one of CUDA's library that torch calls, not the hardware's.
            assert "lg2.approx" not in code
            assert "0f3E1039F6" in code
            # Of tempered logits every bit counts; one reciprocal, of a bound with room, may be inexact.
            assert code.count("div.rn.f32") >= 1
            assert code.count("div.full.f32") == (case.kernel == "parts")
            assert "atom." not in code
    # Logits arrive 16 bytes at a time, copied while others are looked at.
    assert "cp.async.cg.shared.global" in reports[plain].code


@pytest.mark.slow
def test_the_whole_table_spills_nothing() -> None:
    kinds = [(dtype, LARGE) for dtype in DTYPES] + [(torch.bfloat16, num_ids) for num_ids in VOCABULARIES]
    check(
        [
            Case(kernel, target, dtype, num_ids, cuts)
            for target in TARGETS
            for dtype, num_ids in kinds
            for kernel in ("parts", "finish")
            for cuts in (False, True)
        ]
    )
