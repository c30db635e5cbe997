"""How long a program takes to its first token: the shipped model, the same through transformers, and what lies below.

    python -m benchmarks.startup [--repeats 5] [--record]

Each side is a process of its own with one thread, and the sides take turns. `seconds`: from the start of the process to
the first thought on its stdout, which has one token; for "help" and "import torch" to its end. `cpu_seconds`: of the
process and its scorer to their end, which other programs on the machine hardly change. The last line is JSON.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.record import finish, spread
from treereason.engine.model.shipped import EMBEDDED

PACKAGES = ("torch", "transformers", "tokenizers", "hydra-core", "pydantic")
PROGRAM = ("-m", "treereason")
RUN = (*PROGRAM, "task=sorting", "task.limit=1", "search=single_sample", "baseline=none", "display=json")
ONE_TOKEN = "budget.tokens=1"
SIDES: dict[str, tuple[str, ...]] = {
    "help": (*PROGRAM, "--help"),
    "import torch": ("-c", "import torch"),
    "shipped model": (*RUN, ONE_TOKEN),
    "shipped model through transformers": (*RUN, ONE_TOKEN, f"model.name={EMBEDDED}", "model.style=embedded"),
}
FIRST_TOKEN = '"kind": "thought_decoded"'


def start(arguments: Sequence[str], folder: Path) -> dict[str, float]:
    """Start Python once. Raises CalledProcessError when it fails. folder: where a run may write."""
    command = [sys.executable, *arguments]
    if "display=json" in arguments:
        command.append(f"hydra.run.dir={folder}")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    begin, cpu = time.perf_counter(), _cpu_of_children()
    first = None
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if first is None and FIRST_TOKEN in line:
                first = time.perf_counter() - begin
    seconds = time.perf_counter() - begin
    if first is None and (process.returncode or "display=json" in arguments):
        raise subprocess.CalledProcessError(process.returncode, command)
    return {"seconds": seconds if first is None else first, "cpu_seconds": _cpu_of_children() - cpu}


def _cpu_of_children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--record", action="store_true", help="append the line to benchmarks/results/startup.jsonl")
    args = parser.parse_args(arguments)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(args.repeats):
            for name, side in SIDES.items():
                runs[name].append(start(side, Path(folder)))
    rows: dict[str, Any] = {}
    for name, of_side in runs.items():
        rows[name] = {what: spread([run[what] for run in of_side]) for what in ("seconds", "cpu_seconds")}
        print(name.ljust(36), *(f"{what}: {rows[name][what]['median']:.2f}" for what in rows[name]), flush=True)
    finish("startup", {"repeats": args.repeats, "rows": rows}, packages=PACKAGES, record=args.record)


if __name__ == "__main__":
    main()
