"""What CUDA graphs survive on this card and torch: a section of benchmarks.gpu_probe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from treereason.engine.steps.cuda_capture import cuda_capture, first_cause


def graphs() -> Iterator[dict[str, Any]]:
    """Whether graphs survive that another one of their stream is dropped, whether a step that waits for the device is
    found out before its capture, and whether torch survives a capture that fails. Nothing may run after this.
    """
    if not torch.cuda.is_available():
        return
    device = torch.device("cuda")
    weight = torch.randn(4096, 14336, device=device).bfloat16()
    inputs = [torch.randn(num_rows, 14336, device=device).bfloat16() for num_rows in (1, 4, 64)]
    outs = [torch.empty(len(x), 4096, device=device, dtype=torch.bfloat16) for x in inputs]
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    captured = []
    for x, out in zip(inputs, outs, strict=True):
        out.copy_(x @ weight.T)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            out.copy_(x @ weight.T)
        captured.append(graph)
    del captured[0], graph
    torch.cuda.empty_cache()
    junk = [torch.full((size << 20,), float("nan"), device=device) for size in (2, 8, 8, 8, 32)]
    for graph, x, out in zip(captured, inputs[1:], outs[1:], strict=True):
        graph.replay()
        torch.cuda.synchronize()
        want = x.float() @ weight.float().T
        error = float((out.float() - want).abs().max() / want.abs().max())
        yield {"what": "another graph was dropped", "rows": len(x), "error": error}
    del junk

    def fine() -> None:
        outs[0].copy_(inputs[0] @ weight.T)

    def waits() -> None:
        outs[0].add_(inputs[0].sum().item())

    yield {"what": "a step that waits is refused", "says": _attempt(lambda: cuda_capture(device)(waits))}
    again = _attempt(lambda: cuda_capture(device)(fine)())
    yield {"what": "after the refusal", "captures_again": not again, "says": again}

    def fail() -> None:
        with torch.cuda.graph(torch.cuda.CUDAGraph(), stream=stream):
            waits()

    yield {"what": "a capture that waits for the device", "says": _attempt(fail)}
    torch.cuda.set_stream(torch.cuda.default_stream())  # the capture has left its own
    for what, attempt in (
        ("free", torch.cuda.empty_cache),
        ("eager", lambda: (inputs[1] @ weight.T).isfinite().all().item()),
        ("random", lambda: torch.rand(1, device=device).item()),
        ("capture", lambda: cuda_capture(device)(fine)()),
    ):
        says = _attempt(attempt)
        yield {"what": f"after a failed capture: {what}", "works": not says, "says": says}


def _attempt(run: Callable[[], object]) -> str:
    """What went wrong, "" if nothing did."""
    try:
        run()
        torch.cuda.synchronize()
    except Exception as error:
        return first_cause(error)[:160]
    return ""
