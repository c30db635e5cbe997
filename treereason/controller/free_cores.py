"""How many cores of this process are idle: threads that wait for one that has no core take several times as long."""

from __future__ import annotations

import os
from pathlib import Path
from time import sleep

WATCHED_S = 0.1
_STAT = Path("/proc/stat")


def free_cores() -> int | None:
    """Cores that were mostly idle for a tenth of a second, while this process slept; None where Linux does not tell."""
    try:
        before = _idle_and_total()
        sleep(WATCHED_S)
        after = _idle_and_total()
    except (OSError, ValueError, AttributeError):
        return None
    shares = [
        (after[core][0] - before[core][0]) / total
        for core in after
        if core in before and (total := after[core][1] - before[core][1])
    ]
    return round(sum(shares)) if shares else None


def _idle_and_total() -> dict[int, tuple[int, int]]:
    """Ticks of each core that this process may use; waiting for a disk is idle."""
    cores = os.sched_getaffinity(0)
    found = {}
    for line in _STAT.read_text().splitlines():
        name, *ticks = line.split()
        if name[:3] == "cpu" and name[3:].isdigit() and int(name[3:]) in cores:
            numbers = [int(number) for number in ticks[:8]]
            found[int(name[3:])] = numbers[3] + numbers[4], sum(numbers)
    return found
