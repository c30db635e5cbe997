"""How fast the screens answer: a frame of the live display, `treereason show` and the page of `treereason report`.

    python -m benchmarks.screens [--rounds 5] [--record]

Made-up runs of one problem. `frame_ms`: of the live display once `live_thoughts` thoughts are on it, from its state to
the bytes that the terminal gets, by size of the terminal. `show_s`: the whole program, which opens a run with
`recorded_thoughts` thoughts, prints its problem and ends; `show_cpu_s`: its processor time. `report_mb`: the page of
the same run, and of one with texts of 2,400 characters. The last line is JSON.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from rich.console import Console

from benchmarks.made_up_runs import folder, thoughts
from benchmarks.record import finish, spread
from treereason.display.live import RichDisplay
from treereason.events import ProblemDone, RunStarted

TERMINALS = ((80, 24), (120, 40), (200, 60))
NUM_FRAMES = 50
LONG = "a long thought of words, " * 96


def frame_ms(num_thoughts: int, width: int, height: int) -> list[float]:
    """Milliseconds that each of NUM_FRAMES frames takes."""
    console = Console(file=StringIO(), force_terminal=True, color_system="truecolor", width=width, height=height)
    display = RichDisplay(console)
    display(RunStarted("word_problems", "tree_of_thoughts", "made-up", "value", 0, 1))
    for event in thoughts(num_thoughts):
        if not isinstance(event, ProblemDone):
            display(event)
    found = []
    for _ in range(NUM_FRAMES):
        begin = time.perf_counter()
        console.print(display.frame())
        found.append(1e3 * (time.perf_counter() - begin))
    return found


def show_s(run: Path) -> tuple[float, float]:
    """Seconds, and seconds of the processor, that `show` takes to open a run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    command = [sys.executable, "-m", "treereason", "show", str(run)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
    seconds = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def report_mb(run: Path) -> float:
    """Megabytes of the page of a run."""
    page = run / "report.html"
    command = [sys.executable, "-m", "treereason", "report", str(run), "--output", str(page)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return page.stat().st_size / 1e6


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="of `show`")
    parser.add_argument("--live-thoughts", type=int, default=5000)
    parser.add_argument("--recorded-thoughts", type=int, default=10_000)
    parser.add_argument("--record", action="store_true", help="append the line to benchmarks/results/screens.jsonl")
    args = parser.parse_args(arguments)
    frames = {f"{width}x{height}": spread(frame_ms(args.live_thoughts, width, height)) for width, height in TERMINALS}
    with tempfile.TemporaryDirectory() as scratch:
        run = folder(Path(scratch) / "short", args.recorded_thoughts)
        long = folder(Path(scratch) / "long", args.recorded_thoughts, lambda _: LONG)
        shown = [show_s(run) for _ in range(args.rounds)]
        pages = report_mb(run), report_mb(long)
    measured = {
        "live_thoughts": args.live_thoughts,
        "recorded_thoughts": args.recorded_thoughts,
        "rounds": args.rounds,
        "frame_ms": frames,
        "show_s": spread([seconds for seconds, _ in shown]),
        "show_cpu_s": spread([seconds for _, seconds in shown]),
        "report_mb": round(pages[0], 2),
        "report_of_long_texts_mb": round(pages[1], 2),
    }
    finish("screens", measured, packages=("rich",), record=args.record)


if __name__ == "__main__":
    main()
