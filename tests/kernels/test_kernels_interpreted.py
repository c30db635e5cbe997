"""Runs the kernel tests under Triton's interpreter, each part in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize("part", ["deft", "sequence", "not deft and not sequence"])
def test_kernels_under_the_interpreter(part: str) -> None:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    options = ["-q", "--noconftest", "-p", "no:cacheprovider", "-k", part]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "tests/kernels/test_kernels.py"],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
