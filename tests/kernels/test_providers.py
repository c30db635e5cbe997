"""Providers by name, where Triton is not installed."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
sys.modules["triton"] = None
import torch
from benchmarks.forests import star
from treereason.kernels.gpu.triton_backend import TritonBackend
from treereason.kernels.options import AttentionOptions
from treereason.kernels.plan import kv_pool
from treereason.kernels.providers import PROVIDERS, attention

plan = star(2, 20, 3).plan()
k = kv_pool(64, 2, 32, dtype=torch.float32).normal_()
q = torch.randn(2, 4, 32)
works = []
for name in PROVIDERS:
    try:
        attention(plan, q, k, k, AttentionOptions(0.3), provider=name)
        works.append(name)
    except ModuleNotFoundError as error:
        assert "triton" in str(error)
print(*works)
"""


def test_without_triton_the_torch_providers_work_and_the_others_name_it() -> None:
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["torch", "reference"]
