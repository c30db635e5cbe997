"""The worked example of kernels/README.md is what the code makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from treereason.kernels.gpu import make_work
from treereason.kernels.plan import make_plan

README = (Path(__file__).resolve().parent.parent.parent / "kernels" / "README.md").read_text()


def numbers(name: str) -> list[int]:
    """The values of a table's line, and of every entry of it where an entry holds two."""
    (line,) = (line for line in README.splitlines() if line.startswith(f"    {name} "))
    return [int(number) for number in line.removeprefix(f"    {name}").replace(",", " ").split()]


def i32(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int32)


def test_the_example_of_the_plan_and_of_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(
        start=i32(0, 10, 13, 13, 10),
        tokens=i32(10, 3, 2, 1, 5),
        new_tokens=i32(0, 0, 1, 1, 1),
        subtree_end=i32(5, 4, 3, 4, 5),
        pages=i32(*numbers("pages")),
        page_offset=i32(0, 3, 4, 5, 6, 8),
        page_size=4,
    )
    for name in ("node_lo", "node_hi", "node_start", "node_tokens"):
        assert getattr(plan, name).tolist() == numbers(name)
    assert plan.row_position.tolist() == [14, 13, 14]

    monkeypatch.setattr(make_work, "SPLIT_COST", 0)  # so small a forest is not split otherwise
    alone, split = (make_work.make_work(plan, block_rows=2, tile_pages=2, num_spans=programs) for programs in (2, 4))
    assert list(zip(split.piece_lo, split.piece_hi, strict=True)) == [(0, 2), (0, 2), (2, 3), (2, 3)]
    assert split.page_slot[:-2].tolist() == numbers("page_slot")
    assert split.page_start[:-2].tolist() == numbers("page_start")
    packed = [(seen & 0xFF, seen >> 8 & 0xFF, seen >> 16) for seen in split.page_seen[:-2].tolist()]
    assert [number for three in packed for number in three] == numbers("rows, tokens")
    assert split.piece_last.tolist() == [1, 3, 4, 6]
    assert split.piece_mixed.tolist() == [1, 1, 4, 4], "the first tile of each block needs no mask"
    assert alone.piece_partial.tolist() == [-1, -1]
    assert split.piece_partial.tolist() == [0, 1, 2, 3]
    assert split.merge_partial.tolist() == [0, 2, 4]
