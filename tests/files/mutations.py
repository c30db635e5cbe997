"""Malformed files, made of good ones: odd values in JSON, odd bytes anywhere, odd things in a file's place."""

from __future__ import annotations

import json
import os
import random
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

ODD_VALUES: list[Any] = [
    None, True, False, 0, -1, -(2**31), 1, 3.5, 1e-30, 1e308, 10**6, 10**10, 10**12, 2**63, 10**400,
    float("nan"), float("inf"), "", "x", "\x00", "\x1b]0;t\x07", "\ud800", "é" * 1000, "x" * 100_000, "[" * 1000, "1",
    [], {}, [[]], [None], [-1], [10**12], {"": None}, {"type": "nope"}, {"a": {"b": {"c": []}}}, list(range(1000)),
]  # fmt: skip
ODD_BYTES = [b"", b"\0", b"\xff", b"\n", b'"', b"[", b"{", b"}", b",", b"-", b"1e999", b"\\u0000", b"\xef\xbb\xbf"]
DEEP = "[" * 100_000


def odd_json(content: bytes, rng: random.Random) -> bytes:
    """A JSON text with one odd value in it, or a key renamed, lost or there twice."""
    value = json.loads(content)
    places = list(_places(value))
    if not places or rng.random() < 0.05:
        return rng.choice([b"", b"null", b"[]", b"{}", b"3", DEEP.encode(), b'{"a":' * 50_000, b"[]" * 9, b"\xff\xfe"])
    inside, key = _drawn(places, rng)
    way = rng.random()
    if way < 0.7:
        inside[key] = rng.choice(ODD_VALUES)
    elif way < 0.8:
        del inside[key]
    elif isinstance(inside, dict):
        inside[rng.choice(["", "x", "type", "0", "-1", str(key) * 2])] = inside.pop(key)
    else:
        inside.insert(0, inside[key])
    if way > 0.95:
        inside = {"twice": value}
        return json.dumps(inside).replace('{"twice"', '{"twice": 1, "twice"', 1).encode()
    text = json.dumps(value)
    return text.replace("10000000000", DEEP, 1).encode() if way < 0.02 else text.encode()


def odd_bytes(content: bytes, rng: random.Random) -> bytes:
    """A file with some bytes lost, changed, doubled or put in."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = rng.randrange(len(changed) + 1)
        size = rng.choice([1, 1, 4, 100, len(changed)])
        way = rng.randrange(4)
        if way == 0:
            changed[at : at + size] = b""
        elif way == 1:
            changed[at : at + 1] = rng.randbytes(1)
        elif way == 2:
            changed[at:at] = changed[at : at + min(size, 1000)]
        else:
            changed[at:at] = rng.choice(ODD_BYTES) * rng.choice([1, 1, 3, 10_000])
    return bytes(changed)


def odd_lines(content: bytes, rng: random.Random) -> bytes:
    """JSON lines of which one has an odd value."""
    lines = content.splitlines()
    at = rng.randrange(len(lines))
    lines[at] = odd_json(lines[at], rng)
    return b"\n".join(lines)


def odd_weights(content: bytes, rng: random.Random) -> bytes:
    """A safetensors file with an odd header."""
    size = int.from_bytes(content[:8], "little")
    if rng.random() < 0.2:
        length = rng.choice([0, 1, size - 1, size + 1, 2**24 + 1, 2**31, 2**63, 2**64 - 1, len(content)])
        return length.to_bytes(8, "little") + content[8:]
    if rng.random() < 0.2:
        return odd_bytes(content[: 8 + size + 100], rng) + content[8 + size + 100 :]
    header = odd_json(content[8 : 8 + size], rng)
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


def odd_gguf(content: bytes, head: int, rng: random.Random) -> bytes:
    """A GGUF file with an odd number, text or length in its first `head` bytes, with odd weights, or cut off."""
    way = rng.random()
    if way < 0.1:
        return content[: rng.randrange(len(content))]
    if way < 0.3:
        return odd_bytes(content[:head], rng) + content[head:]
    changed = bytearray(content)
    size = rng.choice([1, 4, 8])
    value = rng.choice([0, 1, 2, 3, 8, 9, 31, 255, 2**31, 2**32 - 1, 10**12, 2**63, 2**64 - 1, rng.getrandbits(64)])
    field = (value % 256**size).to_bytes(size, "little")
    if way < 0.9:  # what stands behind a name is a type or a number of dimensions, then lengths and values
        names = [
            m.end() for m in re.finditer(rb"general\.\w+|llama\.[\w.]+|tokenizer\.[\w.]+|blk\.\d\.[\w.]+", content)
        ]
        at = rng.choice(names) + rng.choice([-1, 0, 0, 4, 4, 8, 12])
    else:
        at = rng.randrange(head, len(content) - 8)
    changed[at : at + size] = field
    return bytes(changed)


def odd_journal(path: Path, rng: random.Random) -> None:
    """A journal with an odd event, odd rows, or odd bytes."""
    way = rng.random()
    if way < 0.2:
        path.write_bytes(odd_bytes(path.read_bytes(), rng))
        return
    with closing(sqlite3.connect(path)) as db, db:
        rows = db.execute("SELECT id, kind, data FROM events").fetchall()
        kind = rng.choice(sorted({kind for _, kind, _ in rows}))
        row, _, data = rng.choice([each for each in rows if each[1] == kind])
        if way < 0.75:
            changed = odd_json(data.encode(), rng).decode("utf-8", "surrogateescape").encode("utf-8", "surrogateescape")
            db.execute("UPDATE events SET data=CAST(? AS TEXT) WHERE id=?", (changed, row))
        elif way < 0.85:
            db.execute("DELETE FROM events WHERE kind=? AND abs(random()) % 2 = 0", (kind,))
        elif way < 0.9:
            db.execute("UPDATE events SET id=-id")
        elif way < 0.97:
            column = rng.choice(["time", "kind", "data", "problem"])
            odd = rng.choice([0, -1.5, 1e308, b"\xff", "", "x", "thought_created", "run_started", "[]", "9" * 5000])
            db.execute(f"UPDATE events SET {column}=? WHERE id=?", (odd, row))
        else:
            db.execute(
                rng.choice(
                    ["PRAGMA user_version=2", "PRAGMA user_version=-1", "DROP TABLE events", "DELETE FROM events"]
                )
            )


def odd_thing(path: Path, rng: random.Random) -> None:
    """Something in a file's place that is not a regular file, or none."""
    path.unlink(missing_ok=True)
    ways: list[Callable[[], object]] = [
        path.mkdir,
        lambda: os.mkfifo(path),
        lambda: path.symlink_to("/dev/zero"),
        lambda: path.symlink_to(path),
        lambda: path.write_bytes(b""),
        lambda: _sparse(path, 2**40),
        lambda: None,
    ]
    rng.choice(ways)()


def _sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container and key in a JSON value."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def _drawn(places: list[tuple[Any, Any]], rng: random.Random) -> tuple[Any, Any]:
    """One of the places; those of rare names as often as those of common ones."""
    names = sorted({str(key) for _, key in places})
    name = rng.choice(names)
    return rng.choice([place for place in places if str(place[1]) == name])
