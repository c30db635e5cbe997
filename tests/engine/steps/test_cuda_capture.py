"""The order of calls of a capture on CUDA, told to a torch.cuda that takes notes. Whether they work, a GPU tells."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import pytest
import torch

from treereason.engine.steps.cuda_capture import TorchIsBroken, cuda_capture, first_cause

ONCE = ["side waits for main", "step on side", "watched", "step on side", "unwatched", "main waits for side"]


class Graph:
    """Stands in for a CUDA graph. all: those that live."""

    all: ClassVar[weakref.WeakSet[Any]] = weakref.WeakSet()
    notes: ClassVar[Any]

    def __init__(self) -> None:
        self.all.add(self)

    def replay(self) -> None:
        self.notes.said.append("replay")


class Notes:
    """Stands in for torch.cuda. breaks: whether nothing works after a capture that failed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        self.current = "main"
        self.breaks = self.broken = False
        notes = Graph.notes = self
        Graph.all.clear()

        class Stream:
            def __init__(self, name: str) -> None:
                self.name = name

            def wait_stream(self, other: Stream) -> None:
                notes.said.append(f"{self.name} waits for {other.name}")

        @contextmanager
        def on(stream: Stream) -> Iterator[None]:
            before, self.current = self.current, stream.name
            try:
                yield
            finally:
                self.current = before

        @contextmanager
        def graph(_: Graph, pool: str = "its own", stream: Stream = Stream("another")) -> Iterator[None]:  # noqa: B008
            self.said.append(f"capture into {pool}")
            before, self.current = self.current, stream.name
            try:
                yield
            except Exception:
                self.broken = self.breaks
                raise RuntimeError("the capture does not end either") from None  # and its stream stays behind
            self.said.append("end of capture")
            self.current = before

        def check() -> None:
            self.said.append("works?")
            if self.broken:
                raise RuntimeError("already recording")

        def watch(mode: int | str) -> None:
            self.said.append("watched" if mode == "error" else "unwatched")

        fakes: dict[str, Any] = {
            "graph_pool_handle": partial(next, iter(["the pool"])),
            "Stream": lambda _: Stream("side"),
            "current_stream": lambda _: Stream(self.current),
            "stream": on,
            "CUDAGraph": Graph,
            "graph": graph,
            "get_sync_debug_mode": lambda: 0,
            "set_sync_debug_mode": watch,
            "synchronize": lambda _: None,
            "empty_cache": check,
        }
        for name, fake in fakes.items():
            monkeypatch.setattr(torch.cuda, name, fake)

        @contextmanager
        def fork_rng(devices: list[torch.device]) -> Iterator[None]:
            assert devices
            yield

        monkeypatch.setattr(torch.random, "fork_rng", fork_rng)
        monkeypatch.setattr(torch, "rand", lambda count, device: torch.ones(count).mul_(device.type == "cuda"))


def test_a_step_is_warmed_up_beside_captured_into_the_one_pool_and_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    notes = Notes(monkeypatch)
    capture = cuda_capture(torch.device("cuda"))
    for _ in range(2):
        notes.said.clear()
        replay = capture(lambda: notes.said.append(f"step on {notes.current}"))
        assert notes.said == [*ONCE, "capture into the pool", "step on side", "end of capture"]
        assert notes.current == "main"
        replay()
        assert notes.said[-1] == "replay"


def test_a_step_that_waits_for_the_device_is_refused_before_any_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    notes = Notes(monkeypatch)

    def body() -> None:
        if "watched" in notes.said:
            raise RuntimeError("called a synchronizing CUDA operation")

    with pytest.raises(RuntimeError, match="synchronizing"):
        cuda_capture(torch.device("cuda"))(body)
    assert notes.said == ["side waits for main", "watched", "unwatched", "main waits for side"]


@pytest.mark.parametrize("fails_in", [1, 2, 3])
def test_a_capture_that_fails_gives_the_stream_back(fails_in: int, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = Notes(monkeypatch)
    runs = iter(range(1, 4))

    def body() -> None:
        if next(runs) == fails_in:
            raise ValueError("no")

    with pytest.raises((ValueError, RuntimeError)) as caught:
        cuda_capture(torch.device("cuda"))(body)
    assert not isinstance(caught.value, TorchIsBroken)
    assert first_cause(caught.value).startswith("ValueError: no (test_cuda_capture.py, line ")
    assert notes.current == "main"
    assert "main waits for side" in notes.said
    assert ("works?" in notes.said) == (fails_in == 3), "asked only after a capture that had begun"


def test_a_capture_that_breaks_torch_says_so_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    notes = Notes(monkeypatch)
    notes.breaks = True
    runs = iter(range(1, 4))

    def body() -> None:
        if next(runs) == 3:
            raise ValueError("an operation that needs the host\nand more lines")

    with pytest.raises(TorchIsBroken, match=r"^ValueError: an operation that needs the host \(test_cuda_cap[^\n]*\)$"):
        cuda_capture(torch.device("cuda"))(body)
    assert notes.current == "main"


def test_a_graph_lives_as_long_as_its_capture_whatever_becomes_of_its_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    Notes(monkeypatch)
    capture = cuda_capture(torch.device("cuda"))
    replays = [capture(lambda: None) for _ in range(3)]
    del replays
    gc.collect()
    assert len(Graph.all) == 3
    del capture
    gc.collect()
    assert not Graph.all
