"""Capture on CUDA: what a step does becomes a graph that the device runs by itself."""

from __future__ import annotations

from collections.abc import Callable

import torch

Body = Callable[[], None]
Capture = Callable[[Body], Body]
"""Takes what a step does, returns what does it again over the same memory; runs the body at least once on the way."""


def cuda_capture(device: torch.device) -> Capture:
    """All graphs share one pool of memory, so nothing in it lives from one replay to the next."""
    pool = torch.cuda.graph_pool_handle()
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def capture(body: Body) -> Body:
        current = torch.cuda.current_stream(device)
        graph = torch.cuda.CUDAGraph()
        try:
            # The first run compiles kernels and makes what outlives the capture.
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                body()
            current.wait_stream(stream)
            with torch.cuda.graph(graph, pool=pool, stream=stream):
                body()
        finally:
            torch.cuda.set_stream(current)  # a capture that fails leaves its own behind
        return graph.replay

    return capture
