"""A side of `benchmarks.decode` in a process of its own, which decodes when it is told to and else waits.

    python -m benchmarks.decode_worker MODULE:FUNCTION FOLDER DTYPE THREADS

Reads a case a line, writes a measurement a line, both JSON. Standard library only, for peers have another Python.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from benchmarks.decode_case import Case, Model, Side

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Run:
    """Seconds on the clock, seconds of all threads together, and the tokens where they were asked for."""

    seconds: float
    cpu_seconds: float
    tokens: list[list[int]]


class NotInstalled(Exception):
    """The side's Python lacks what it needs."""


class Worker:
    """One side. Raises NotInstalled on a missing package, RuntimeError for a process that ends."""

    def __init__(self, side: str, model: Model, python: str = sys.executable) -> None:
        """side: "module:function", which makes a Side of a Model."""
        threads = str(model.threads)
        self._side = side
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed with the process
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.decode_worker", side, str(model.folder), model.dtype, threads],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": threads},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        ready = self._read()
        self.versions: dict[str, str] = ready.get("versions", {})
        if "missing" in ready:
            self.close()
            raise NotInstalled(ready["missing"])

    def run(self, case: Case, *, tell: bool = False) -> Run:
        """Decode a case. tell: the tokens too."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"case": asdict(case), "tell": tell}) + "\n")
        self._process.stdin.flush()
        return Run(**self._read())

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            raise RuntimeError(f"{self._side} ended: {self._errors.read()[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def measured(side: Side, case: Case, *, tell: bool) -> Run:
    """One run, timed. Raises RuntimeError for another number of tokens than was asked for."""
    job = side(case)
    began, began_cpu = perf_counter(), process_time()
    tokens = job()
    seconds, cpu_seconds = perf_counter() - began, process_time() - began_cpu
    want, count = [], len(case.own)
    for branches, num_tokens in case.levels:
        count *= branches
        want += [num_tokens] * count
    if [len(branch) for branch in tokens] != want:
        raise RuntimeError(f"decoded {sum(map(len, tokens))} tokens instead of {sum(want)}")
    return Run(seconds, cpu_seconds, tokens if tell else [])


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the side's libraries print is no answer

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    where, folder, dtype, threads = sys.argv[1:]
    module_name, _, function = where.partition(":")
    try:
        module = importlib.import_module(module_name)
        side: Side = getattr(module, function)(Model(Path(folder), dtype, int(threads)))
        versions = {name: metadata.version(name) for name in getattr(module, "PACKAGES", ())}
    except ImportError as error:
        answer(missing=str(error))
        return
    answer(versions=versions)
    for line in sys.stdin:
        asked = json.loads(line)
        answer(**asdict(measured(side, Case.read(asked["case"]), tell=asked["tell"])))


if __name__ == "__main__":
    main()
