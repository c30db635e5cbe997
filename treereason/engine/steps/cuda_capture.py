"""Capture on CUDA: what a step does becomes a graph that the device runs by itself."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

Body = Callable[[], None]
Capture = Callable[[Body], Body]
"""Takes what a step does, returns what does it again over the same memory; runs the body at least once on the way."""
_TORCH = Path(torch.__file__).parent


class TorchIsBroken(RuntimeError):
    """A capture has failed midway, and torch does not work any more as before: nothing may be computed on."""


def cuda_capture(device: torch.device) -> Capture:
    """All graphs share one pool of memory, so nothing in it lives from one replay to the next.

    A capture raises what the body raised, and torch works as before: most bodies that cannot be captured wait for the
    device, and they are found out before. Raises TorchIsBroken where torch does not.
    """
    pool = torch.cuda.graph_pool_handle()
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    # Destroying one graph frees the cuBLAS workspace that all graphs of its stream use (pytorch issue 193402).
    graphs: list[torch.cuda.CUDAGraph] = []

    def capture(body: Body) -> Body:
        current = torch.cuda.current_stream(device)
        stream.wait_stream(current)
        try:
            with torch.cuda.stream(stream):
                body()  # compiles kernels and makes what outlives the capture
                with _no_waiting():
                    body()
        finally:
            current.wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        graphs.append(graph)
        try:
            # The outer one: a capture whose end fails leaves its own stream behind.
            with torch.cuda.stream(current), torch.cuda.graph(graph, pool=pool, stream=stream):
                body()
        except Exception as error:
            if not _torch_works(device):
                raise TorchIsBroken(first_cause(error)) from error
            raise
        return graph.replay

    return capture


def first_cause(error: BaseException) -> str:
    """The first of an error and those that led to it, on one line, with the code outside torch that met it."""
    while error.__context__ is not None:  # ending a failed capture fails as well; the first error tells why
        error = error.__context__
    line = next(iter(str(error).strip().splitlines()), "")
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if _TORCH not in Path(frame.filename).parents
    ]
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {line}{where}"


@contextmanager
def _no_waiting() -> Iterator[None]:
    """Inside, what waits for the device raises. Torch does not find everything that waits, but what models do."""
    before = torch.cuda.get_sync_debug_mode()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the mode is a prototype
            torch.cuda.set_sync_debug_mode("error")
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def _torch_works(device: torch.device) -> bool:
    """Whether torch has recovered from a failed capture; before pull request 180395 it did not always.

    Asks of it what was seen to fail: freeing memory, random numbers, another capture.
    """
    try:
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        with torch.random.fork_rng(devices=[device]):
            number = torch.rand(1, device=device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            number.mul_(0)
        graph.replay()
        torch.cuda.synchronize(device)
        return number.item() == 0
    except Exception:
        return False
