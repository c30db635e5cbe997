"""The end of a problem, and of the engine."""

from __future__ import annotations

from tests.remote.driving import ask, drain, engine, expansion
from tests.remote.fake_server import HANG_S, FakeServer
from treereason.remote.engine import RemoteEngine
from treereason.remote.server import Server


def test_the_end_of_a_problem_gives_up_its_requests_alone(fake: FakeServer) -> None:
    fake.delay = lambda request: HANG_S if request["prompt"] == "hang" else 0.2
    with engine(fake) as remote:
        remote.submit(expansion(1, "hang", "0"))
        remote.submit(expansion(1, "x", "1"))
        fake.wait_until(lambda fake: len(fake.requests) == 2)
        assert remote.end_problem("0") == 0
        assert [child.problem for child in drain(remote)] == ["1"]
    fake.wait_until(lambda fake: fake.num_closed == 1)


def test_a_stopped_problem_gets_all_its_children_back_once(fake: FakeServer) -> None:
    fake.delay = lambda request: HANG_S if request["prompt"] == "hang" else 0.0
    with engine(fake) as remote:
        remote.submit(expansion(3, "hang", "0"))
        remote.submit(expansion(2, "x", "1"))
        fake.wait_until(lambda fake: len(fake.requests) == 2)
        remote.stop("0", "out of time")
        children = drain(remote)
    assert [(child.problem, child.path, child.error) for child in children] == [
        *(("0", (rank,), "out of time") for rank in range(3)),
        *(("1", (rank,), None) for rank in range(2)),
    ]
    fake.wait_until(lambda fake: fake.num_closed == 1)


def test_a_closed_engine_ends_its_requests(fake: FakeServer) -> None:
    fake.delay = lambda _: HANG_S
    with engine(fake) as remote:
        remote.submit(expansion())
        fake.wait_until(lambda fake: fake.in_flight == 1)
    fake.wait_until(lambda fake: fake.num_closed == 1)


def test_one_server_serves_one_engine_after_another(fake: FakeServer) -> None:
    server = Server("fake", fake.url, style="plain", concurrency=1)
    fake.max_n = 1  # several requests wait for one another
    runs = []
    for _ in range(2):
        with RemoteEngine(server, seed=0) as remote:
            runs.append(ask(remote, expansion(3)))
    assert runs[0] == runs[1]
    assert [child.error for child in runs[0]] == [None] * 3
