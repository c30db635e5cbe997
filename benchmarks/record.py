"""What a benchmark's JSON line says of where and when it was measured. Standard library and torch only.

Two environment variables, for a copy of the checkout on another machine: TREEREASON_COMMIT tells its commit,
and TREEREASON_RESULTS is a folder for the lines instead of benchmarks/results/.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(os.environ.get("TREEREASON_RESULTS") or ROOT / "benchmarks" / "results")
CPU_INFO = Path("/proc/cpuinfo")


def finish(
    benchmark: str,
    measured: Mapping[str, Any],
    *,
    packages: Sequence[str],
    record: bool,
    device: str = "cpu",
    show: bool = True,
) -> None:
    """Print `measured` as one line of JSON, and with `record` append it to RESULTS/BENCHMARK.jsonl.

    show: False prints where the line was recorded instead; for lines of many rows.
    The line tells in addition the date, the commit, the processor (the GPU for device "cuda"), the number of CPU cores
    that this process may use, and the versions of `packages`.
    """
    line = json.dumps(
        {
            **measured,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "commit": commit(ROOT),
            "processor": processor(device),
            "num_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "versions": {name: version(name) for name in packages},
        },
        allow_nan=False,
    )
    if record:
        RESULTS.mkdir(parents=True, exist_ok=True)
        path = RESULTS / f"{benchmark}.jsonl"
        with path.open("a") as file:
            file.write(line + "\n")
        if not show:
            line = f"recorded in {path}"
    print(line)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Smallest, median and largest value, to four decimals."""
    found = {"min": min(values), "median": statistics.median(values), "max": max(values)}
    return {name: round(value, 4) for name, value in found.items()}


def version(package: str) -> str | None:
    """The installed version; None where the package is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def commit(checkout: Path) -> str | None:
    """Short hash of the checked-out commit, with `+` behind it when files differ from it.

    Recorded results count as no difference: recording two rows in a row leaves the second one clean. None outside
    git. What TREEREASON_COMMIT says comes first: the .git of a copy may be older than its files.
    """
    if told := os.environ.get("TREEREASON_COMMIT"):
        return told
    if not (checkout / ".git").exists():  # an archive inside another repository has no commit of its own
        return None
    try:
        name = _git(checkout, "rev-parse", "--short", "HEAD")
        changes = _git(checkout, "status", "--porcelain", "--", ".", ":!benchmarks/results")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{name}+" if changes else name


def _git(checkout: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=checkout, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def processor(device: str) -> str:
    """Model name of the GPU for "cuda", else of the CPU."""
    if device == "cuda":
        return torch.cuda.get_device_name(0)
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.is_file() else []
    names = [value.strip() for key, _, value in (line.partition(":") for line in lines) if key.strip() == "model name"]
    return names[0] if names else platform.processor() or platform.machine()
