"""docs/kernels.md shows what is recorded: every number of its tables of times is a row's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.record import RESULTS

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "kernels.md"
SHOWN = {"tree_decode": "tree_decode", "tree_extend": "tree_extend", "sequence": "sequence"}


def recorded(name: str) -> list[dict[str, Any]]:
    """The lines of a file of results."""
    return [json.loads(line) for line in (RESULTS / name).read_text().splitlines()]


def table(first: str) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the table whose first head begins so."""
    lines = PAGE.read_text().splitlines()
    (begin,) = (at for at, line in enumerate(lines) if line.startswith(f"| {first}"))
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[begin:]]
    end = next(at for at, line in enumerate(lines[begin:]) if not line.startswith("|"))
    return cells[0], cells[2:end]


def shown(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


@pytest.mark.parametrize(
    ("first", "commit", "others"),
    [
        ("FastTree's trees, 32/8 heads", "89c3aec", {"FastTree": "fasttree"}),
        ("32/8 heads", "89c3aec", {"DeFT-Flatten": "deft_flatten"}),
    ],
)
def test_times_of_attention_are_the_recorded_ones(first: str, commit: str, others: dict[str, str]) -> None:
    providers = {**SHOWN, **others}
    rows = {
        (row["case"], row["provider"]): row
        for line in recorded("tree_attention.jsonl")
        if line["commit"] == commit
        for row in line["rows"]
        if row["heads"] == [32, 8]
    }
    before = {
        row["case"]: row
        for row in recorded("tree_attention.jsonl")[0]["rows"]
        if row["provider"] == "tree_decode" and row["heads"] == [32, 8]
    }
    heads, body = table(first)
    assert len(body) == 15
    for case, *cells in body:
        for head, cell in zip(heads[1:], cells, strict=True):
            if head in providers:
                assert cell == shown(rows[case, providers[head]]["p50"])
            elif head == "floor":
                row = rows[case, "tree_decode"]
                assert cell == shown(row["floor"] * row["p50"])
            else:
                assert head == "before"
                assert cell == (shown(before[case]["p50"]) if case in before else "-")


def test_the_readme_shows_the_same_times() -> None:
    """Its three trees are three rows of that table, and its steps those of 64 branches."""
    readme = (PAGE.parent.parent / "README.md").read_text()
    section = readme.split("## How fast it is on a GPU")[1].split("## ")[0]
    _, body = table("FastTree's trees, 32/8 heads")
    by_case = {case: cells for case, *cells in body}
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| 1,")]
    assert len(rows) == 3
    for case, ours, fasttree, sequence in rows:
        _floor, decode, _extend, *others = by_case[case]
        assert [ours, fasttree, sequence] == [decode, *others]
    _, steps = table("rows | eager")
    (_, eager, _, graph, fused, _) = next(cells for cells in steps if cells[0] == "64")
    assert (
        f"takes {fused} ms from a CUDA graph with fused\nkernels, {graph} ms without those, and {eager} ms" in section
    )


def test_times_of_sampling_and_of_steps_are_the_recorded_ones() -> None:
    found = recorded("gpu_probe.jsonl")[-1]["rows"]
    _, body = table("rows | all ids, torch")
    for num_rows, *cells in body:
        for at, cut in enumerate(("all", "top_p .9", "top_k 40", "min_p .1")):
            peaked, flat = (
                next(r for r in found if (r.get("rows"), r.get("cut"), r.get("logits")) == (int(num_rows), cut, logits))
                for logits in ("peaked", "flat")
            )
            assert cells[2 * at : 2 * at + 2] == [
                shown(peaked["torch_us"]),
                f"{shown(peaked['us'])} / {shown(flat['us'])}",
            ]
    _, body = table("rows | eager")
    for num_rows, *cells in body:
        steps = {
            (row["how"], row["fused"] != "off"): row
            for row in found
            if row.get("what") == "step" and row["rows"] == int(num_rows)
        }
        times = [steps[key]["p50_us"] for key in (("eager", False), ("eager", True), ("graph", False), ("graph", True))]
        want = [*(f"{us / 1e3:.1f}" for us in times[:2]), *(f"{us / 1e3:.2f}" for us in times[2:])]
        assert cells == [*want, f"{steps['graph', True]['replay_us'] / 1e3:.2f}"]
