"""How much faster a run is with several workers, and what its journal costs: the shipped model on a CPU.

    python -m benchmarks.workers [--workers 2] [--limit 400] [--rounds 3] [--record]

Tree of thoughts over lists of 64 digits, one thread a process; whole runs of the command line take turns. `seconds`:
from the first problem to the last, as summary.json has it; `with_start`: of the whole program, model loading included.
`faster`: seconds of one worker over those of several, of each round. `journal_share`: share of the run with one worker
that goes into its journal; `record_share`: with results, summary and display=none. Results must be the same bytes. The
last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.record import finish, spread

RUN = ("-m", "treereason", "task=sorting", "task.length=64", "baseline=none", "display=none", "engine.threads=1")


def run(num_workers: int, limit: int, folder: Path) -> dict[str, float]:
    """One run in `folder`. Raises CalledProcessError when it fails."""
    options = [f"task.limit={limit}", f"workers={num_workers}", f"hydra.run.dir={folder}"]
    if num_workers == 1:
        options.append("engine.profile=true")
    begin = time.perf_counter()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *RUN, *options], check=True, env=environment, stdout=subprocess.DEVNULL)
    whole = time.perf_counter() - begin
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    found = {"seconds": summary["seconds"], "with_start": whole}
    if num_workers == 1:
        found["journal_share"] = summary["profile"]["journal"]
        found["record_share"] = found["journal_share"] + summary["profile"]["results and display"]
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=int, default=400, help="problems")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--record", action="store_true", help="append the line to benchmarks/results/workers.jsonl")
    args = parser.parse_args(arguments)
    one, several = [], []
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as folder:
            paths = Path(folder) / "one", Path(folder) / "several"
            one.append(run(1, args.limit, paths[0]))
            several.append(run(args.workers, args.limit, paths[1]))
            first, second = ((path / "results.jsonl").read_bytes() for path in paths)
            assert first == second, "the results differ"
        print(*(f"{name}: {found[-1]['seconds']:.1f} s" for name, found in (("one", one), ("several", several))))
    measured = {
        "workers": args.workers,
        "limit": args.limit,
        "rounds": args.rounds,
        "faster": spread([a["seconds"] / b["seconds"] for a, b in zip(one, several, strict=True)]),
        "faster_with_start": spread([a["with_start"] / b["with_start"] for a, b in zip(one, several, strict=True)]),
        "seconds_of_one": spread([a["seconds"] for a in one]),
        "journal_share": spread([a["journal_share"] for a in one]),
        "record_share": spread([a["record_share"] for a in one]),
    }
    finish("workers", measured, packages=("torch",), record=args.record)


if __name__ == "__main__":
    main()
