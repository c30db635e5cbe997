"""Runs from Python on a server."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import treereason as tr
from tests.from_python.driving import answers, run
from treereason.events import RunStarted
from treereason.record import read


def test_a_server_answers_run_after_run_also_under_a_running_loop(server: str) -> None:
    remote = tr.load(server, name="any")

    async def cell() -> tr.Run:
        return run(remote)

    first, second = run(remote), asyncio.run(cell())
    assert answers(first) == answers(second)
    assert (first.solved, first.failed) == (3, 0)
    assert second.problems[0].best is not None


def test_the_record_holds_the_options_of_the_server(server: str, tmp_path: Path) -> None:
    remote = tr.load(server, name="any", concurrency=3, timeout_s=7.0, max_retries=1)
    run(remote, folder=tmp_path)
    started = next(event for event in read(tmp_path / "journal.sqlite") if isinstance(event, RunStarted))
    given = {"name": "any", "url": server, "style": "plain", "concurrency": 3, "timeout_s": 7.0, "max_retries": 1}
    assert started.config["model"].items() >= given.items()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of a server without a chat endpoint that sorts the last list of a prompt."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    http = ThreadingHTTPServer(("127.0.0.1", 0), Sorter)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{http.server_address[1]}/v1"
    http.shutdown()
    thread.join()
    http.server_close()


class Sorter(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer({})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/completions":
            self.answer({"error": "Not Found"}, 404)
            return
        lists, num_children = re.findall(r"Given: (.*)", request["prompt"]), request.get("n", 1)
        text = f" {sorted(json.loads(lists[-1]))}" if lists else "?"
        choice = {"text": text, "finish_reason": "stop", "stop_reason": None}
        usage = {"prompt_tokens": 1, "completion_tokens": num_children}
        self.answer({"choices": [choice | {"index": i} for i in range(num_children)], "usage": usage})

    def answer(self, value: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
