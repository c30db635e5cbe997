"""Whatever a server answers: no traceback, no hang, bounded memory, a clean terminal, and no key anywhere."""

from __future__ import annotations

import base64
import json
import re
import socket
import threading
import time
import tracemalloc
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes import HANG_S, slow
from tests.remote.driving import KEY, ask, expansion
from tests.remote.hostile import CHUNK, Hostile, HostileServer, spellings_of_key, table
from treereason.cli.main import main
from treereason.record.journal import read
from treereason.remote.body import MAX_BODY_BYTES
from treereason.remote.engine import RemoteEngine
from treereason.remote.server import Server

TABLE = table()
TIMEOUT_S = 0.3


def _refuse_at_length(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 401 Odd\r\n\r\n\x1b]0;owned\x07" + KEY.encode())
    while True:
        connection.sendall(CHUNK)


REFUSAL = Hostile("401: endless words", _refuse_at_length)


@contextmanager
def serving(variant: Hostile, *, to_all: bool = False) -> Iterator[HostileServer]:
    with HostileServer(variant, to_all=to_all) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def steering(text: str) -> list[str]:
    return [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn")]


def exit_code_of(folder: Path) -> int:
    """What a run of one problem ends with, by its own summary."""
    return 3 if json.loads((folder / "summary.json").read_text())["failed"] else 0


def survives(variant: Hostile, folder: Path, capfd: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
    """A run against the server ends in time, with a clean terminal, and without the key anywhere."""
    patch.setenv("NO_PROXY", "127.0.0.1")
    patch.setenv("OPENAI_API_KEY", KEY)
    patch.setattr("treereason.remote.pauses.MAX_PAUSE_S", 0.02)
    patch.setattr("treereason.remote.pauses._backoff", lambda _: 0.01)
    started = time.monotonic()
    with serving(variant) as server:
        options = ["model=openai", "model.name=x", f"model.url={server.url}", f"model.timeout_s={TIMEOUT_S}"]
        options.append("model.endpoint=completions")
        options += ["model.max_retries=1", "task=few_shot", "task.limit=1", "search=self_consistency", "search.n=2"]
        code = main([*options, "baseline=none", "display=plain", f"hydra.run.dir={folder}"])
    assert time.monotonic() - started < HANG_S
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
    assert steering(out + err) == []
    assert all(len(line) < 2200 for line in (out + err).splitlines())
    assert list(read(folder / "journal.sqlite"))[-1].kind == "run_done"
    assert code == exit_code_of(folder)
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file()) + (out + err).encode()
    assert not [name for name, key in spellings_of_key().items() if key.encode() in written]
    for found in re.findall(rb"[A-Za-z0-9+/_-]{24,}", written):
        assert KEY.encode() not in base64.b64decode(found[: len(found) // 4 * 4], altchars=b"-_")


BOUNDED = ("endless body", "endless chunks", "packed with 200: bomb", "body: many choices")
SHORT = [variant for variant in [variant for variant in TABLE if variant.short][::5] if variant.name not in BOUNDED]
"""Those that a run meets at every commit; the slow lane tries the others, and `test_memory_is_bounded` those that are
large.
"""


@pytest.mark.parametrize("variant", SHORT, ids=lambda variant: variant.name)
def test_no_answer_harms_a_run(
    variant: Hostile, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    survives(variant, tmp_path, capfd, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("variant", [v for v in TABLE if v not in SHORT], ids=lambda variant: variant.name)
def test_no_other_answer_harms_a_run(
    variant: Hostile, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    survives(variant, tmp_path, capfd, monkeypatch)


AT_THE_DOOR = [
    "status 401",
    "endless trickle",
    "endless headers",
    "head: words",
    "packed with 400: bomb",
    "401: endless words",
    *slow("status 999", "endless body of an error", "head: nothing", "head: cookies"),
]


@pytest.mark.parametrize("name", AT_THE_DOOR)
def test_no_answer_to_the_first_question_harms(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("treereason.remote.server.PROBE_TIMEOUT_S", TIMEOUT_S)
    started = time.monotonic()
    with serving(next((v for v in TABLE if v.name == name), REFUSAL), to_all=True) as server:
        options = ["model=openai", "model.name=x", f"model.url={server.url}", f"model.timeout_s={TIMEOUT_S}"]
        options.append("model.endpoint=completions")
        options += ["model.max_retries=0", "task=few_shot", "task.limit=1", "search.k=1", "baseline=none"]
        code = main([*options, "display=plain", f"hydra.run.dir={tmp_path}"])
    assert code == (exit_code_of(tmp_path) if (tmp_path / "summary.json").exists() else 2)
    assert time.monotonic() - started < HANG_S
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
    assert steering(out + err) == []
    assert KEY not in out + err
    assert err.count("\n") <= 1


def test_there_are_enough_of_them() -> None:
    assert sum(variant.short for variant in TABLE) >= 40
    assert len(TABLE) >= 340


@pytest.mark.parametrize("name", BOUNDED)
def test_memory_is_bounded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    [variant] = [variant for variant in TABLE if variant.name == name]
    with serving(variant) as server:
        remote = RemoteEngine(Server("x", server.url, style="plain", max_retries=0), seed=0)
        tracemalloc.start()
        with remote:
            ask(remote, expansion(1))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 8 * MAX_BODY_BYTES
