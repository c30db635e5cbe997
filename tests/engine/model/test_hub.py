"""Names that are no folder here, beside a hub on loopback that answers, refuses, or is not there."""

from __future__ import annotations

import http.server
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
from huggingface_hub import constants, get_hf_file_metadata

from treereason.core import UserError
from treereason.engine.model import hub
from treereason.engine.model.load import load_model
from treereason.engine.model.shipped import SHIPPED

NOWHERE = "model.name=some/typo: no such folder or file here"


class _Hub(http.server.BaseHTTPRequestHandler):
    """Answers every request by one status."""

    status: ClassVar[int]
    code: ClassVar[str]

    def do_HEAD(self) -> None:
        self.send_response(self.status)
        self.send_header("X-Error-Code", self.code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(status: int, code: str = "") -> Iterator[str]:
    """The address of a hub that answers so."""
    handler = type("Hub", (_Hub,), {"status": status, "code": code})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """An empty cache, no pauses, and the address of a hub that is not there, which is the one that is asked."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "PAUSES_S", (0.0, 0.0))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    return ask(monkeypatch, url)


def ask(monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    """Let the hub's client ask there."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + template)
    return url


def put_into_cache(cache: Path, name: str) -> None:
    """The embedded model, as the hub's client keeps what it has downloaded."""
    repo = cache / f"models--{name.replace('/', '--')}"
    shutil.copytree(SHIPPED["embedded"].folder, repo / "snapshots" / ("0" * 40))
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("0" * 40)


def test_a_name_that_is_nowhere_is_told_at_once_without_a_network(nobody: str) -> None:
    with pytest.raises(UserError) as told:
        load_model("some/typo", style="plain")
    assert str(told.value).startswith(f"{NOWHERE}, nor in the hub's cache, and {nobody} cannot be reached: ")
    assert "give a folder, or try again with a network" in str(told.value)


@pytest.mark.usefixtures("nobody")
def test_a_name_that_is_nowhere_is_told_when_the_hub_must_not_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE forbids to ask the hub: give a folder, or unset it"):
        load_model("some/typo", style="plain")


@pytest.mark.usefixtures("nobody")
def test_a_name_that_the_hub_does_not_know_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(404, "RepoNotFound") as url:
        ask(monkeypatch, url)
        with pytest.raises(UserError, match=f"{NOWHERE}, and {url} has no model of this name that you may read"):
            load_model("some/typo", style="plain")


@pytest.mark.usefixtures("nobody")
def test_what_no_hub_could_have_is_told() -> None:
    with pytest.raises(UserError, match=r"model\.name=a b: no such folder or file here, and no hub id: Repo id must"):
        load_model("a b", style="plain")


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize(("status", "code"), [(200, ""), (403, "GatedRepo"), (404, "EntryNotFound"), (503, "")])
def test_a_hub_that_answers_is_asked_for_the_rest(monkeypatch: pytest.MonkeyPatch, status: int, code: str) -> None:
    with serving(status, code) as url:
        ask(monkeypatch, url)
        assert not hub.only_cached("some/model")


@pytest.mark.usefixtures("nobody")
def test_a_hub_that_is_slow_is_left_to_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ask(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(hub, "get_hf_file_metadata", lambda url: get_hf_file_metadata(url, timeout=0.1))
        assert not hub.only_cached("some/model")


@pytest.mark.usefixtures("nobody")
def test_what_was_downloaded_is_read_without_a_network() -> None:
    put_into_cache(Path(constants.HF_HUB_CACHE), "some/model")
    assert load_model("some/model", style="embedded", device="cpu").name == "some/model"
