"""The order of calls of a capture on CUDA, told to a torch.cuda that takes notes. Whether they work, a GPU tells."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch

from treereason.engine.steps.cuda_capture import cuda_capture


class Notes:
    """Stands in for torch.cuda."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        self.current = "main"
        notes = self

        class Stream:
            def __init__(self, name: str) -> None:
                self.name = name

            def wait_stream(self, other: Stream) -> None:
                notes.said.append(f"{self.name} waits for {other.name}")

        class Graph:
            def replay(self) -> None:
                notes.said.append("replay")

        @contextmanager
        def on(stream: Stream) -> Iterator[None]:
            before, self.current = self.current, stream.name
            yield
            self.current = before

        @contextmanager
        def graph(_: Graph, pool: str, stream: Stream) -> Iterator[None]:
            self.said.append(f"capture into {pool}")
            self.current = stream.name
            try:
                yield
            finally:
                self.said.append("end of capture")
            self.current = "main"

        def set_stream(stream: Stream) -> None:
            self.current = stream.name

        fakes: dict[str, Any] = {
            "graph_pool_handle": partial(next, iter(["the pool"])),
            "Stream": lambda _: Stream("side"),
            "current_stream": lambda _: Stream(self.current),
            "stream": on,
            "set_stream": set_stream,
            "CUDAGraph": Graph,
            "graph": graph,
        }
        for name, fake in fakes.items():
            monkeypatch.setattr(torch.cuda, name, fake)


def test_a_step_is_warmed_up_beside_captured_into_the_one_pool_and_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    notes = Notes(monkeypatch)
    capture = cuda_capture(torch.device("cuda"))
    once = ["side waits for main", "step on side", "main waits for side"]
    for _ in range(2):
        notes.said.clear()
        replay = capture(lambda: notes.said.append(f"step on {notes.current}"))
        assert notes.said == [*once, "capture into the pool", "step on side", "end of capture"]
        assert notes.current == "main"
        replay()
        assert notes.said[-1] == "replay"


@pytest.mark.parametrize("fails_in", [1, 2])
def test_a_capture_that_fails_gives_the_stream_back(fails_in: int, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = Notes(monkeypatch)
    runs = iter(range(1, 3))

    def body() -> None:
        if next(runs) == fails_in:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cuda_capture(torch.device("cuda"))(body)
    assert notes.current == "main"
