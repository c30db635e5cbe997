"""What `benchmarks.decode` records and prints of its runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.decode_worker import Run
from benchmarks.record import spread

HEAD = f"{'work':>6} {'side':15} {'busy':>4} {'min s':>8} {'median':>8} {'max':>8} {'CPU s':>8}   times the tree, CPU"


def rows(runs: Mapping[tuple[str, int], Sequence[Run]], threads: int) -> list[dict[str, Any]]:
    """A row for each side and number of busy processes, in the order of `runs`; lists of runs are by round.

    over_tree, cpu_over_tree: seconds, and seconds of all threads together, over the tree's of the same round.
    Beside busy processes also idle_seconds, the side's own without them; over_idle, cpu_over_idle: over its own of the
    same round without them; cores: those it got, which is CPU seconds over seconds; over_fair: seconds over what its
    idle CPU seconds take at a fair share of the cores, where each thread gets as much as a busy process.
    """
    found = []
    for (side, busy), of_side in runs.items():
        row: dict[str, Any] = {"side": side, "busy": busy, "rounds": len(of_side)}
        row["seconds"] = spread([run.seconds for run in of_side])
        row["cpu_seconds"] = spread([run.cpu_seconds for run in of_side])
        row |= _over("tree", of_side, runs["tree", busy])
        if busy:
            idle = runs[side, 0]
            row["idle_seconds"] = spread([run.seconds for run in idle])
            row |= _over("idle", of_side, idle)
            row["cores"] = spread([run.cpu_seconds / run.seconds for run in of_side])
            fair = min(threads, num_cores() * threads / (threads + busy))
            pairs = zip(of_side, idle, strict=True)
            row["over_fair"] = spread([run.seconds * fair / alone.cpu_seconds for run, alone in pairs])
        found.append(row)
    return found


def line(work: str, row: Mapping[str, Any]) -> str:
    """A row as it is printed, under HEAD."""
    seconds, wall, cpu = row["seconds"], row["over_tree"], row["cpu_over_tree"]
    numbers = " ".join(f"{value:8.2f}" for value in (*seconds.values(), row["cpu_seconds"]["median"]))
    text = f"{work:>6} {row['side']:15} {row['busy']:4} {numbers}"
    if row["side"] != "tree":
        text += f"   {wall['median']:.2f} ({wall['min']:.2f} to {wall['max']:.2f}), {cpu['median']:.2f}"
    if row["busy"]:
        text += "   over idle {:.2f}, CPU {:.2f}, over its fair share {:.2f}".format(
            *(row[name]["median"] for name in ("over_idle", "cpu_over_idle", "over_fair"))
        )
    return text


def _over(name: str, of_side: Sequence[Run], base: Sequence[Run]) -> dict[str, Any]:
    pairs = list(zip(of_side, base, strict=False))  # a slow side has fewer rounds
    return {
        f"over_{name}": spread([run.seconds / other.seconds for run, other in pairs]),
        f"cpu_over_{name}": spread([run.cpu_seconds / other.cpu_seconds for run, other in pairs]),
    }


def num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
