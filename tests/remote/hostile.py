"""A table of answers that no server should give, and a server that gives them byte by byte."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import socketserver
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.remote.driving import KEY

STEERING = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp\x08\x00"
PATIENCE_S = 10.0
CHUNK = b"x" * 2**16


@dataclass(frozen=True)
class Hostile:
    """name: of the variant. answer: sends it. short: it belongs to the few that are always tried."""

    name: str
    answer: Callable[[socket.socket], None]
    short: bool = False


class HostileServer(socketserver.ThreadingTCPServer):
    """Answers every completion by one variant. to_all: other requests too, else it says that it lists no models."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, variant: Hostile, *, to_all: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self.variant = variant
        self.to_all = to_all


class _Handler(socketserver.BaseRequestHandler):
    server: HostileServer
    request: socket.socket

    def handle(self) -> None:
        self.request.settimeout(PATIENCE_S)
        try:
            head = _read_request(self.request)
            if head.startswith(b"GET") and not self.server.to_all:
                self.request.sendall(plain(b"", 404))
            elif head:
                self.server.variant.answer(self.request)
        except OSError:
            pass  # the client went away, as it should


def _read_request(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        if not (more := connection.recv(2**16)):
            return b""
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line), 0)
    while len(body) < length:
        if not (more := connection.recv(2**16)):
            return b""
        body += more
    return head


def plain(body: bytes, status: int = 200, *headers: str) -> bytes:
    """An answer with a body of known length."""
    lines = [f"HTTP/1.1 {status} Odd", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def good() -> dict[str, Any]:
    """An answer as it should be."""
    logprobs = {"tokens": ["4", "2"], "token_logprobs": [-0.5, -1.0]}
    choice = {"index": 0, "text": "42", "finish_reason": "stop", "stop_reason": None, "logprobs": logprobs}
    return {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}


def table() -> list[Hostile]:
    """All variants, each with a name of its own."""
    variants = [*_values(), *_bodies(), *_heads(), *_endless(), *_keys()]
    assert len({variant.name for variant in variants}) == len(variants)
    return variants


def _sends(name: str, raw: bytes, short: bool = False) -> Hostile:
    return Hostile(name, lambda connection: connection.sendall(raw), short)


PLACES: list[tuple[str | int, ...]] = [
    (),
    ("choices",),
    ("choices", 0),
    ("choices", 0, "text"),
    ("choices", 0, "index"),
    ("choices", 0, "finish_reason"),
    ("choices", 0, "stop_reason"),
    ("choices", 0, "logprobs"),
    ("choices", 0, "logprobs", "tokens"),
    ("choices", 0, "logprobs", "token_logprobs"),
    ("choices", 0, "logprobs", "token_logprobs", 1),
    ("usage",),
    ("usage", "prompt_tokens"),
    ("usage", "completion_tokens"),
]
VALUES: dict[str, str] = {
    "null": "null",
    "true": "true",
    "minus one": "-1",
    "half": "0.5",
    "infinity": "1e999",
    "nan": "NaN",
    "long number": "1" + "0" * 400,
    "longer number": "1" * 5000,
    "sixty-four bits": str(2**64),
    "steering": json.dumps(STEERING),
    "half a character": '"\\ud83d"',
    "list": "[]",
    "object": "{}",
    "long list": "[" + "0," * 5000 + "0]",
    "long text": json.dumps("x" * 100_000),
    "bidi file": json.dumps("\u2066a\u2069\u200f\ufeff"),
}


def _values() -> Iterator[Hostile]:
    """A good answer with one odd value in it."""
    for place in PLACES:
        for number, (name, value) in enumerate(VALUES.items()):
            answer: Any = {"": good()}
            inner = answer
            for step in ("", *place)[:-1]:
                inner = inner[step]
            inner[("", *place)[-1]] = "<here>"
            body = json.dumps(answer[""]).replace('"<here>"', value)
            at = ".".join(map(str, place)) or "all"
            yield _sends(f"{at} is {name}", plain(body.encode()), short=(number + len(place)) % 16 == 0)


def _bodies() -> Iterator[Hostile]:
    """Bodies that are no JSON, or more of it than anybody needs."""
    text = json.dumps(good()).encode()
    bodies = {
        "empty": b"",
        "blank": b" \n",
        "cut": text[:-9],
        "twice": text * 2,
        "page": b"<html>\x1b[2J</html>",
        "no utf-8": b'{"choices": [{"text": "\xff\xfe"}]}',
        "utf-16": text.decode().encode("utf-16"),
        "with a mark": b"\xef\xbb\xbf" + text,
        "deep lists": b"[" * 100_000,
        "closed deep lists": b"[" * 100_000 + b"]" * 100_000,
        "lists of 900": b'{"error": ' + b"[" * 900 + b"]" * 900 + b"}",
        "deep objects": b'{"a":' * 100_000,
        "many choices": json.dumps({"choices": good()["choices"] * 20_000}).encode(),
        "only an error": json.dumps({"error": {"message": STEERING + KEY}}).encode(),
        "a chat": json.dumps({"choices": [{"message": {"content": "42"}}]}).encode(),
        "nul": b"\0" * 1000,
    }
    for name, body in bodies.items():
        yield _sends(f"body: {name}", plain(body), short=name in ("deep lists", "only an error", "many choices"))
        yield _sends(f"body of an error: {name}", plain(body, 400))
    for status in (199, 201, 204, 206, 300, 302, 304, 401, 403, 404, 408, 413, 418, 422, 429, 500, 501, 503, 599, 999):
        body = json.dumps({"error": {"message": f"{STEERING} {KEY} " + "x" * 10**5}}).encode()
        yield _sends(f"status {status}", plain(body, status), short=status in (401, 500))


def _heads() -> Iterator[Hostile]:
    """Headers that no library should choke on."""
    text = json.dumps(good()).encode()
    pauses = ["9" * 20, "1" * 400, "1e9", "1000000000", "-1", "nan", "inf", "٣", "soon", "", "0x10"]
    pauses += [
        f"Wed, 21 Oct {'9' * 20} 07:28:00 GMT",
        "Wed, 21 Oct 9999 23:59:59 -2359",
        "Wed, 99 Xyz 2015 99:99:99 GMT",
    ]
    pauses += ["Wed, 21 Oct 2015 07:28:00 +99999999999999", "Fri, 31 Dec 0000 00:00:00 GMT", "," * 1000, "1 2 3 4 5"]
    for number, pause in enumerate(pauses):
        header = "Retry-After: " + pause.encode().decode("latin-1")
        for status in (429, 503):
            short = status == 429 and number in (0, 3, 11)
            yield _sends(f"{status} with pause {number}", plain(b"{}", status, header), short)
    heads = {
        "steering reason": b"HTTP/1.1 400 \x1b]0;owned\x07\r\nContent-Length: 0\r\n\r\n",
        "key in a header": b"HTTP/1.1 200 OK\r\n" + KEY.encode() + b"\x1b\r\nContent-Length: 0\r\n\r\n",
        "no status": b"HTTP/1.1\r\n\r\n",
        "words": b"hello " + KEY.encode() + b"\x1b[2J\r\n\r\n",
        "another protocol": b"HTTP/9.9 200 OK\r\n\r\n",
        "status of letters": b"HTTP/1.1 abc OK\r\n\r\n",
        "long status": b"HTTP/1.1 " + b"2" * 5000 + b" OK\r\n\r\n",
        "too short": b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + text,
        "too long": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + text,
        "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n" + text,
        "no length": b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n" + text,
        "huge length": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n" + text,
        "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n" + text,
        "broken chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + text,
        "huge chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 30 + b"\r\n" + text,
        "unknown transfer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: odd\r\n\r\n" + text,
        "nothing": b"",
        "one byte": b"H",
        "a long header": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10**6 + b"\r\n\r\n",
        "many headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10**5 + b"\r\n",
        "cookies": plain(text, 200, *[f"Set-Cookie: a{n}=b; expires=Wed, 21 Oct {'9' * 20} 07:28" for n in range(99)]),
        "a bad place": plain(b"", 302, "Location: http://[::1:::\x9b/"),
        "a place without end": plain(b"", 302, "Location: /v1/completions"),
        "a charset": plain(text, 200, "Content-Type: application/json; charset=\x9bodd"),
        "upgrade": plain(b"", 101, "Upgrade: websocket"),
    }
    for name, raw in heads.items():
        yield _sends(f"head: {name}", raw, short=name in ("steering reason", "words", "too short", "nothing"))
    bomb = gzip.compress(b"[" + b"0," * 2**25 + b"0]")
    packed = {
        "gzip": (gzip.compress(text), "gzip"),
        "deflate": (zlib.compress(text), "deflate"),
        "no gzip": (text, "gzip"),
        "cut gzip": (gzip.compress(text)[:-20], "gzip"),
        "no deflate": (text, "deflate"),
        "brotli": (text, "br"),
        "twice": (gzip.compress(gzip.compress(text)), "gzip, gzip"),
        "odd": (text, STEERING.encode().hex()),
        "bomb": (bomb, "gzip"),
        "bomb of deflate": (zlib.compress(b" " * 2**26), "deflate"),
        "bomb in a bomb": (gzip.compress(bomb), "gzip, gzip"),
    }
    for name, (body, encoding) in packed.items():
        for status in (200, 400):
            raw = plain(body, status, f"Content-Encoding: {encoding}")
            yield _sends(f"packed with {status}: {name}", raw, short=name == "bomb")


def _endless() -> Iterator[Hostile]:
    """Answers that never end, or never begin."""

    def repeat(start: bytes, piece: bytes, pause_s: float = 0.0) -> Callable[[socket.socket], None]:
        def answer(connection: socket.socket) -> None:
            connection.sendall(start)
            end = time.monotonic() + PATIENCE_S
            while time.monotonic() < end:
                connection.sendall(piece)
                time.sleep(pause_s)

        return answer

    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = b"10000\r\n" + CHUNK + b"\r\n"
    endless = {
        "body": repeat(b"HTTP/1.1 200 OK\r\n\r\n", CHUNK),
        "body of an error": repeat(b"HTTP/1.1 500 Odd\r\n\r\n", CHUNK),
        "chunks": repeat(chunked, piece),
        "blank chunks": repeat(chunked, b"1\r\n \r\n", 0.01),
        "trickle": repeat(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", b" ", 0.05),
        "header": repeat(b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.05),
        "headers": repeat(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000),
        "continue": repeat(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01),
        "hints": repeat(b"", b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" * 100),
        "silence": repeat(b"", b"", 0.05),
        "trailers": repeat(chunked + b"0\r\n", b"X: y\r\n" * 1000),
    }
    for name, answer in endless.items():
        yield Hostile(f"endless {name}", answer, short=name in ("body", "trickle", "hints"))


def _keys() -> Iterator[Hostile]:
    """Answers that repeat the key that came with the request, in many spellings."""
    for name, spelled in spellings_of_key().items():
        choice = {**good()["choices"][0], "text": f"The answer is {spelled}."}
        yield _sends(
            f"text with key: {name}", plain(json.dumps({"choices": [choice]}).encode()), short=name == "itself"
        )
        for status in (400, 503):
            error = json.dumps({"error": {"message": f"bad key {spelled}"}}).encode()
            yield _sends(f"{status} with key: {name}", plain(error, status), short=status == 400)


def spellings_of_key() -> dict[str, str]:
    """The key as it is, and as it might stand in an address, a page or a header."""
    return {
        "itself": KEY,
        "capitals": KEY.upper(),
        "percent": quote(KEY, safe=""),
        "all percent": "".join(f"%{byte:02X}" for byte in KEY.encode()),
        "base64": base64.b64encode(KEY.encode()).decode(),
        "base64 of the header": base64.b64encode(f"Bearer {KEY}".encode()).decode(),
        "base64 behind a user": base64.urlsafe_b64encode(f"me:{KEY}".encode()).decode(),
        "hexadecimal": KEY.encode().hex(),
    }
