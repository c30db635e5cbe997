"""What is done when a server does not answer, or answers with a failure."""

from __future__ import annotations

import gc
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tests.remote.driving import KEY, ask, drain, engine, expansion
from tests.remote.fake_server import HANG_S, FakeServer
from tests.remote.hostile import Hostile, plain
from tests.remote.test_hostile import serving
from treereason.core import UserError
from treereason.remote.dialect import TRIAL
from treereason.remote.pauses import MAX_PAUSE_S
from treereason.remote.server import Server
from treereason.text import LONGEST_LINE

LONG_AGO = "Wed, 21 Oct 2015 07:28:00 GMT"


class Pauses:
    """A clock that only notes how many seconds it was to sleep."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)


def http_date(**later: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(**later))


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("1", 1, 1),
        ("1.5", 1.5, 1.5),
        ("3600", MAX_PAUSE_S, MAX_PAUSE_S),
        (http_date(days=1), MAX_PAUSE_S, MAX_PAUSE_S),
        (LONG_AGO, 0, 0),
    ],
    ids=["a second", "a fraction", "an hour", "tomorrow", "long ago"],
)
def test_a_busy_server_is_asked_again_when_it_says(fake: FakeServer, header: str, least: float, most: float) -> None:
    pauses = Pauses()
    fake.scripted.append((429, {"Retry-After": header}, '{"error": {"message": "slow down"}}'))
    with engine(fake, sleep=pauses.sleep) as remote:
        [child] = ask(remote, expansion())
    assert child.error is None
    assert fake.requests[0] == fake.requests[1]
    [pause] = pauses.seconds
    assert least <= pause <= most


def test_attempts_end_and_pauses_grow(fake: FakeServer) -> None:
    pauses = Pauses()
    fake.always = 503, ""
    with engine(fake, max_retries=3, sleep=pauses.sleep) as remote:
        [child] = ask(remote, expansion())
    assert child.error == "the server answered 503: Service Unavailable"
    assert [request["prompt"] for request in fake.requests] == ["x"] * 4 + [TRIAL]
    assert all(base <= pause <= base + 0.5 for base, pause in zip((0.5, 1, 2), pauses.seconds, strict=True))


@pytest.mark.parametrize("status", [408, 425, 500, 502, 503])
def test_a_server_that_recovers_is_enough(fake: FakeServer, status: int) -> None:
    fake.scripted.append((status, {"Retry-After": LONG_AGO}, "<h1>later</h1>"))
    with engine(fake) as remote:
        assert [child.error for child in ask(remote, expansion())] == [None]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, '{"object": "error", "message": "prompt too long"}', "answered 400: prompt too long"),
        (404, '{"detail": "no such model"}', "answered 404: no such model"),
        (422, '{"detail": [{"loc": "n"}]}', "answered 422: [{'loc': 'n'}]"),
        (308, "", "answered 308: Permanent Redirect"),
        (200, "<html>", "is not JSON"),
        (200, '{"choices": []}', "has no choices"),
        (200, "[1]", "has no choices"),
        (200, '{"choices": null, "error": {"message": "too long"}}', "answered 200: too long"),
        (200, '{"choices": [], "detail": "too long"}', "answered 200: too long"),
        (200, '{"object": "error", "message": "too long", "code": 40303}', "answered 200: too long"),
        (200, '{"choices": [{"message": "chat"}]}', "a choice without text"),
    ],
)
def test_what_will_not_pass_is_not_tried_again(fake: FakeServer, status: int, body: str, said: str) -> None:
    fake.always = status, body
    with engine(fake) as remote:
        errors = [child.error for child in ask(remote, expansion(2))]
    assert len(errors) == 2
    assert all(error is not None and said in error and "\n" not in error for error in errors)
    assert len([request for request in fake.requests if request["prompt"] != TRIAL]) == 1


@pytest.mark.parametrize("code", [429, 503, "502"])
def test_an_error_that_may_pass_inside_an_answer_by_200_is_tried_again(fake: FakeServer, code: int | str) -> None:
    fake.scripted.append((200, {"Retry-After": "0"}, json.dumps({"error": {"code": code, "message": "overloaded"}})))
    with engine(fake) as remote:
        assert [child.error for child in ask(remote, expansion())] == [None]
    assert fake.requests[0] == fake.requests[1]


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip", "gzip, gzip"])
def test_an_error_that_cannot_be_unpacked_is_known_by_its_status(fake: FakeServer, encoding: str) -> None:
    headers = {"Content-Encoding": encoding, "Retry-After": "0"}
    fake.scripted += [(503, headers, "not packed"), (404, headers, "not packed")]
    with engine(fake) as remote:
        [child] = ask(remote, expansion())
    assert child.error == "the server answered 404: Not Found"


def test_no_cookie_is_kept(fake: FakeServer) -> None:
    fake.scripted.append((429, {"Set-Cookie": "a=b; Path=/", "Retry-After": "0"}, ""))
    with engine(fake) as remote:
        assert [child.error for child in ask(remote, expansion())] == [None]
    assert fake.cookies == [None, None]


def test_a_broken_body_leaves_nothing_behind(fake: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING")  # runs of the command line in this process have set INFO
    fake.scripted.append((200, {"Content-Encoding": "gzip"}, "no gzip"))
    with engine(fake, max_retries=0) as remote:
        [child] = ask(remote, expansion())
    assert "the connection to the server broke" in str(child.error)
    gc.collect()  # asyncio complains of tasks that were left
    assert not caplog.records


def test_a_server_that_hangs_runs_into_the_timeout(fake: FakeServer) -> None:
    fake.delay = lambda request: HANG_S if request["prompt"] == "hang" else 0.0
    with engine(fake, timeout_s=0.3, max_retries=1, sleep=Pauses().sleep) as remote:
        remote.submit(expansion(1, "hang", "0"))
        remote.submit(expansion(1, "x", "1"))
        hung, answered = drain(remote)
    assert hung.error == "the server did not answer within 0.3 s (model.timeout_s)"
    assert answered.error is None
    fake.wait_until(lambda fake: fake.num_closed == 2)
    assert len(fake.requests) == 3


@pytest.mark.parametrize("host", ["a..b", "a" * 64])
def test_an_address_that_is_no_host_is_one_line(host: str) -> None:
    server = Server("x", f"http://{host}/v1", style="plain")
    with pytest.raises(UserError, match=rf"^model\.url=http://{host}/v1: the server cannot be reached: .*$"):
        server.probe()


def test_a_key_that_is_none_is_not_repeated() -> None:
    with pytest.raises(UserError, match="characters that no key has") as caught:
        Server("x", "http://127.0.0.1", style="plain", api_key="secret\nX: y")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "meant"),
    [("", "/v1"), ("/", "/v1"), ("/v1/completions", "/v1"), ("/v1/chat/completions", "/v1"), ("/completions", "/v1")],
)
def test_an_address_beside_the_one_that_lists_models_is_refused(fake: FakeServer, url: str, meant: str) -> None:
    fake.models_status = 200
    root = fake.url.removesuffix("/v1")
    with pytest.raises(UserError) as caught:
        Server("x", root + url, style="plain").probe()
    said = f"model.url={root}{url.rstrip('/')}: no models are there; did you mean {root}{meant}?"
    assert str(caught.value) == said


@pytest.mark.parametrize("url", ["", "/v1", "/v1/completions"])
def test_a_server_that_lists_no_models_anywhere_is_fine(fake: FakeServer, url: str) -> None:
    Server("x", fake.url.removesuffix("/v1") + url, style="plain").probe()


@pytest.mark.parametrize("odd", [b"", b"hello", b"HTTP/1.1 abc\r\n\r\n"])
def test_an_odd_answer_at_an_address_that_nobody_gave_is_no_obstacle(
    odd: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    answers = iter([plain(b"", 404), odd])
    variant = Hostile("", lambda connection: connection.sendall(next(answers)))
    with serving(variant, to_all=True) as server:
        Server("x", server.url.removesuffix("/v1"), style="plain").probe()
    assert next(answers, None) is None


def test_a_proxy_that_refuses_is_named(fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.models_status = 407
    monkeypatch.setenv("HTTP_PROXY", fake.url)
    monkeypatch.delenv("http_proxy", raising=False)
    with pytest.raises(UserError, match=r"^model\.url=.*: a proxy refuses: .*407.*HTTP_PROXY"):
        Server("x", fake.url, style="plain").probe()


def test_a_long_message_of_the_server_is_cut_without_a_part_of_the_key(fake: FakeServer) -> None:
    fake.always = 400, "x" * 250 + KEY * 10
    with engine(fake, api_key=KEY) as remote:
        [child] = ask(remote, expansion())
    assert child.error is not None
    assert len(child.error) == LONGEST_LINE + len("...")
    assert KEY[:4] not in child.error
