"""The C++ kernels compute the same with the vectors of other processors."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.kernels.test_compiled_backend import check, some_plan, tensors
from tests.kernels.test_compiled_sample import draws
from treereason.kernels.cpu import library
from treereason.kernels.cpu.fused import add_rms_norm, rms_norm, silu_mul
from treereason.kernels.cpu.linear import linear, pack_weight
from treereason.kernels.options import AttentionOptions

WIDTHS = ["native", *(["haswell", "x86-64"] if platform.machine() == "x86_64" else [])]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


@pytest.fixture(params=WIDTHS)
def _compiled_for(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The library of a processor with other vectors, which this one can run too."""
    flags = [f"-march={request.param}" if flag.startswith("-march") else flag for flag in library.FLAGS]
    monkeypatch.setattr(library, "FLAGS", tuple(flags))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for cached in (library.function, library._library):
        cached.cache_clear()
    yield
    for cached in (library.function, library._library):
        cached.cache_clear()


def some(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.slow
@pytest.mark.usefixtures("_compiled_for")
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_every_function_computes_what_torch_does(dtype: torch.dtype) -> None:
    def close(got: torch.Tensor, want: torch.Tensor) -> None:
        torch.testing.assert_close(got.double(), want.double(), atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])

    for extend in (False, True):
        plan = some_plan(extend)
        options = AttentionOptions(0.3, window=25, softcap=2.0, sinks=some(4))
        check(plan, tensors(plan, (4, 2), 64, dtype), options)

    for num_rows, num_outputs, num_inputs in ((1, 72, 160), (7, 64, 30), (33, 200, 2304)):
        x, weight, bias = (
            each.to(dtype)
            for each in (some(num_rows, num_inputs), some(num_outputs, num_inputs) / 48, some(num_outputs))
        )
        want = torch.nn.functional.linear(x.double(), weight.double(), bias.double())
        got = linear(x, pack_weight(weight), bias, num_outputs)
        close(got, want)

    x, other, weight = (each.to(dtype) for each in (some(5, 64), some(6, 64)[:5], some(64)))
    norm = torch.nn.functional.rms_norm
    want = norm(x.double(), (64,), weight.double(), 1e-5)
    close(rms_norm(x, weight, 1e-5), want)
    got, total = add_rms_norm(x, other, weight, 1e-5)
    close(total, x + other)
    close(got, norm(total.double(), (64,), weight.double(), 1e-5))
    gate = (10 * some(5, 64)).to(dtype)
    close(silu_mul(gate, x), torch.nn.functional.silu(gate) * x)

    logits = 3 * some(64, 999)
    assert torch.equal(draws(logits, 0.7, compiled=True)[0], draws(logits, 0.7, compiled=False)[0])
