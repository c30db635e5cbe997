"""Rows of benchmarks.tree_attention as a short table: a line for each shape, a column for each provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NAME_WIDTH = 30


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Median microseconds of a call, `-` for one that failed, and the floor where it is known."""
    providers = list(dict.fromkeys(row["provider"] for row in rows))
    shapes: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        heads = "/".join(map(str, row["heads"]))
        shapes.setdefault((row["case"], heads), {})[row["provider"]] = row
    titles = [name.replace("deft_", "").replace("tree_", "").replace("flashinfer_", "fi_")[:9] for name in providers]
    lines = [f"{'p50, microseconds':{NAME_WIDTH}} {'heads':>5} {'floor':>6} " + " ".join(f"{t:>9}" for t in titles)]
    for (case, heads), found in shapes.items():
        floors = [row["floor"] * row["p50"] for row in found.values() if "floor" in row]
        floor = f"{floors[0]:.1f}" if floors else "-"
        times = (f"{found[name]['p50']:.1f}" if "p50" in found.get(name, {}) else "-" for name in providers)
        lines.append(f"{case[:NAME_WIDTH]:{NAME_WIDTH}} {heads:>5} {floor:>6} " + " ".join(f"{t:>9}" for t in times))
    return lines
