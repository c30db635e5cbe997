"""What `make gpu` runs: all tests that need a GPU, the probe of the card, and the benchmark of attention.

    python tools/gpu_checks.py [--seconds 450] [--logs build/gpu]

Every part runs, whatever the ones before did. Exit code: 0 if all went well, 1 if a part failed, 2 without an
accelerator: nothing is run then. What the parts say goes to LOGS/PART.log. The screen gets less than 12,000 characters,
the verdicts last. The measured rows are appended to benchmarks/results/.

Where the checkout is a copy without .git, TREEREASON_COMMIT tells the commit, and TREEREASON_RESULTS another folder for
the rows. Needs torch, numpy, triton, pytest and transformers, and no installation of treereason. With pytest-xdist the
tests share as many processes as there are cores; without it a few parts of them run side by side: most of the time goes
into compiling kernels.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 450
"""For all parts together: a remote runner may end a command after ten minutes, and starts slowly."""
MARK = "pytest.mark.gpu"
PYTEST = ("-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider", "-m", "gpu")
KERNELS = "tests/kernels/test_kernels.py"
PROVIDERS = ("tree_decode", "tree_extend", "deft", "sequence")
MOST_WORKERS = 15  # each has a context on the device
FAILURE_CHARACTERS = 800
NOTHING_COLLECTED = 5


@dataclass(frozen=True)
class Part:
    """arguments: of this Python. share: of the time that is left when it starts, at most. shown: characters of its end
    that are printed when it went well. may_be_empty: it may find no test.
    """

    name: str
    arguments: Sequence[str]
    share: float = 1.0
    shown: int = 0
    may_be_empty: bool = False


@dataclass
class Started:
    """A part that runs, or has run. seconds: how long. failure: why it did not go well, "" if it did."""

    part: Part
    log: Path
    process: subprocess.Popen[bytes]
    begin: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    failure: str = ""

    @classmethod
    def of(cls, part: Part, logs: Path) -> Started:
        log = logs / f"{part.name}.log"
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-u", *part.arguments],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": path},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a part that takes too long ends with all its processes
            )
        return cls(part, log, process)

    def wait(self, deadline: float) -> Started:
        """Wait until it ends, or end it at the deadline."""
        try:
            code = self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.failure = "took too long"
        else:
            if code and not (code == NOTHING_COLLECTED and self.part.may_be_empty):
                self.failure = f"exit code {code}"
        self.seconds = time.monotonic() - self.begin
        return self

    def end(self, characters: int) -> str:
        """The last lines of what it said."""
        text = self.log.read_text(errors="replace").rstrip()
        return text if len(text) <= characters else "..." + text[-characters:].partition("\n")[2]

    @property
    def verdict(self) -> str:
        """One line."""
        last = self.end(200).splitlines()[-1:] if "pytest" in self.part.arguments or self.failure else []
        return f"{self.part.name:22} {self.failure or 'ok':14} {self.seconds:4.0f} s  {' '.join(last)[:100]}".rstrip()


def parts_of_tests(num_cores: int, has_xdist: bool) -> list[Part]:
    """The tests that need a GPU, in parts that run at the same time."""
    files = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "tests").rglob("test_*.py"))]
    files = [name for name in files if MARK in (ROOT / name).read_text()]
    if has_xdist:
        workers = str(min(MOST_WORKERS, max(1, num_cores - 1)))
        return [Part("tests", (*PYTEST, "-rs", "-n", workers, *files), share=0.5)]
    others = [Part(Path(name).stem, (*PYTEST, "-rs", name), 0.5) for name in files if name != KERNELS]
    rest = " and ".join(f"not {provider}" for provider in PROVIDERS)
    kernels = [Part(f"kernels_{name}", (*PYTEST, "-k", name, KERNELS), 0.5, may_be_empty=True) for name in PROVIDERS]
    return [*kernels, Part("kernels_rest", (*PYTEST, "-k", rest, KERNELS), 0.5), *others]


def measurements(seconds: float) -> list[Part]:
    """What is timed, one after another. seconds: for all of it."""
    for_benchmark = str(int(max(20, seconds * 0.6 - 40)))
    return [
        Part("gpu_probe", ("-m", "benchmarks.gpu_probe", "--record"), share=0.45, shown=3_000),
        Part(
            "tree_attention",
            ("-m", "benchmarks.tree_attention", "--seconds", for_benchmark, "--record"),
            shown=4_500,
        ),
    ]


def run(parts: Sequence[Part], logs: Path, deadline: float) -> list[Started]:
    """Run parts side by side."""
    begin = time.monotonic()
    started = [Started.of(part, logs) for part in parts]
    return [each.wait(begin + (deadline - begin) * each.part.share) for each in started]


def tell(done: Sequence[Started]) -> int:
    """Print what is worth it; the exit code."""
    failed = [each for each in done if each.failure]
    for each in failed[:3]:
        print(f"--- {each.part.name} failed; the end of {each.log}:\n{each.end(FAILURE_CHARACTERS)}\n")
    for each in done:
        if each.part.shown and not each.failure:
            print(f"--- {each.part.name}\n{each.end(each.part.shown)}\n")
    print("\n".join(each.verdict for each in done))
    return 1 if failed else 0


def accelerator() -> str | None:
    """Name of the GPU, None without one."""
    try:
        import torch
    except ModuleNotFoundError:
        return None
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def main() -> int:
    """Runs everything; the exit code."""
    begin = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="all parts together end within this")
    parser.add_argument("--logs", type=Path, default=ROOT / "build" / "gpu", help="folder for what the parts say")
    args = parser.parse_args()
    name = accelerator()
    if name is None:
        print(f"make gpu: torch finds no accelerator with {sys.executable}: nothing was run", file=sys.stderr)
        return 2
    args.logs.mkdir(parents=True, exist_ok=True)
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    print(f"{name}, {num_cores} cores; logs in {args.logs}", flush=True)
    deadline = begin + args.seconds
    done = run(parts_of_tests(num_cores, find_spec("xdist") is not None), args.logs, deadline)
    for part in measurements(deadline - time.monotonic()):
        done += run([part], args.logs, deadline)
    return tell(done)


if __name__ == "__main__":
    sys.exit(main())
