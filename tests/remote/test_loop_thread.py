"""The engine's asyncio loop: in a thread of its own, whatever runs in the caller's."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.remote.driving import drain, engine, expansion
from tests.remote.fake_server import HANG_S, FakeServer
from treereason.core import Decoded
from treereason.remote.loop_thread import LoopThread


def num_loops() -> int:
    return sum(thread.name == "treereason-remote" for thread in threading.enumerate())


def test_the_engine_decodes_where_a_loop_runs_already(fake: FakeServer) -> None:
    def decode() -> list[Decoded]:
        with engine(fake) as remote:
            remote.submit(expansion(3))
            remote.submit(expansion(2, problem="1"))
            return drain(remote)

    async def notebook_cell() -> list[Decoded]:
        return decode()

    assert asyncio.run(notebook_cell()) == decode()


def test_a_failed_or_stopped_request_ends_where_a_loop_runs_already(fake: FakeServer) -> None:
    async def notebook_cell() -> list[Decoded]:
        fake.delay = lambda _: HANG_S
        with engine(fake) as remote:
            remote.submit(expansion())
            fake.wait_until(lambda fake: fake.in_flight == 1)
            remote.stop("0", "enough")
            return drain(remote)

    assert [child.error for child in asyncio.run(notebook_cell())] == ["enough"]
    fake.wait_until(lambda fake: fake.num_closed == 1)


def test_requests_go_out_while_the_caller_does_something_else(fake: FakeServer) -> None:
    with engine(fake) as remote:
        remote.submit(expansion())
        fake.wait_until(lambda fake: len(fake.requests) == 1 and not fake.in_flight)
        assert len(drain(remote)) == 1


def test_a_closed_engine_leaves_no_thread(fake: FakeServer) -> None:
    before = num_loops()
    remote = engine(fake)
    remote.submit(expansion())
    assert num_loops() == before + 1
    remote.close()
    remote.close()
    assert num_loops() == before


def test_what_a_coroutine_raises_reaches_the_caller() -> None:
    async def fail() -> None:
        raise KeyError("here")

    loop = LoopThread("treereason-test")
    with pytest.raises(KeyError, match="here"):
        loop.run(fail())
    task = loop.start(asyncio.sleep(HANG_S))
    loop.cancel([task])
    assert task.cancelled()
    left = loop.start(asyncio.sleep(HANG_S))
    loop.close()
    assert left.cancelled()
