"""What the environment asks of the HTTP client, and keys."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

import treereason as tr
from tests.remote.driving import KEY, ask, engine, expansion
from tests.remote.fake_server import FakeServer
from tests.remote.hostile import Hostile
from tests.remote.test_hostile import serving
from treereason.cli.main import main
from treereason.config.secrets import refuse_key
from treereason.core import UserError
from treereason.remote.engine import RemoteEngine
from treereason.remote.environment import make_client
from treereason.remote.redaction import Redaction
from treereason.remote.server import Server

VARIABLES = {
    "socks": ("ALL_PROXY", "socks://127.0.0.1:9"),
    "socks5": ("ALL_PROXY", "socks5://127.0.0.1:9"),
    "small letters": ("all_proxy", "socks5h://127.0.0.1:9"),
    "scheme": ("HTTPS_PROXY", "ftp://127.0.0.1"),
    "password": ("HTTP_PROXY", "quic://user:secret@127.0.0.1"),
    "port": ("HTTP_PROXY", "http://127.0.0.1:port"),
    "port too high": ("HTTP_PROXY", "http://127.0.0.1:99999"),
    "nobody there": ("HTTP_PROXY", "http://127.0.0.1:9"),
    "network": ("NO_PROXY", "::1/128,localhost"),
    "network in small letters": ("no_proxy", "fe80::/10"),
    "certificate": ("SSL_CERT_FILE", "nowhere.pem"),
    "folder as certificate": ("SSL_CERT_FILE", "."),
    "empty certificate": ("SSL_CERT_FILE", "/dev/null"),
    "key log": ("SSLKEYLOGFILE", "nowhere/keys"),
}


@pytest.fixture
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.usefixtures("_no_proxies")
@pytest.mark.parametrize("case", VARIABLES)
def test_a_variable_that_no_client_works_with_is_named(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, value = VARIABLES[case]
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError) as caught:
        tr.load("http://127.0.0.1:9/v1", name="x")
    error = str(caught.value)
    assert name in error
    assert "\n" not in error
    assert "secret" not in error


@pytest.mark.usefixtures("_no_proxies")
def test_a_variable_that_no_client_works_with_ends_the_program_before_its_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(*VARIABLES["password"])
    url = "http://127.0.0.1:9/v1"
    assert main(["model=openai", "model.name=x", f"model.url={url}", f"hydra.run.dir={tmp_path}"]) == 2
    error = capfd.readouterr().err
    assert error.startswith("treereason: error: HTTP_PROXY in the environment cannot be used: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "journal.sqlite").exists()


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSLKEYLOGFILE"])
def test_a_variable_that_names_a_pipe_is_not_waited_for(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    monkeypatch.setenv(name, path)
    with pytest.raises(UserError, match=rf"^{name} in the environment cannot be used: it is a pipe"):
        make_client()


@pytest.mark.parametrize("address", ["http://me:sec/ret@127.0.0.1:9", "http://me:sec?ret@h", "me:sec#ret@h:9"])
def test_a_part_of_a_proxys_password_is_not_repeated(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("http_proxy", raising=False)
    monkeypatch.setenv("HTTP_PROXY", address)
    with pytest.raises(UserError, match=r"^HTTP_PROXY .*no address of a proxy") as caught:
        make_client()
    assert "sec" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"), [("REQUESTS_CA_BUNDLE", "nowhere.pem"), ("NO_PROXY", "*"), ("SSL_CERT_DIR", "nowhere")]
)
def test_a_variable_that_does_not_concern_the_server_is_no_obstacle(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with engine(fake) as remote:
        remote.model.probe()
        assert ask(remote, expansion())[0].error is None


KEYS = {
    "usual": "sk-proj-4f8a",
    "long": "A" * 41,
    "letters and digits": "AIzaSyD1234567890abcdefghijklmnopq",
    "underscores": "sk_live_abcdefghijklmnop",
    "mixed": "hf_abcDEFghiJKLmnoPQRstuVWXyz0123456",
    "number": "123456789012345678901234",
    "blank inside": "'sk 1234 abcd'",
    "list": "[sk-1234]",
    "several": "sk-1234,sk-5678",
    "not closed": "'sk-1234",
    "dollar": "sk$1234",
    "empty": "''",
}


@pytest.mark.parametrize("case", KEYS)
def test_a_key_in_place_of_a_variable_is_refused_and_not_repeated(
    case: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    common = ["model=openai", "model.name=x", "model.url=http://127.0.0.1:9/v1", f"hydra.run.dir={tmp_path}"]
    assert main([*common, f"model.api_key_env={KEYS[case]}"]) == 2
    captured = capfd.readouterr()
    assert captured.err.startswith("treereason: error: model.api_key_env")
    assert captured.err.count("\n") == 1
    secret = KEYS[case].strip("'[]").split(",")[0]
    assert not secret or secret not in captured.err + captured.out
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize("flags", [["--cfg", "job"], ["--cfg", "all"], ["--info", "config"], ["--cfg", "hydra"]])
def test_a_key_in_place_of_a_variable_is_not_shown_by_a_flag(
    flags: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    key = "sk-proj-abcdefghijklmnop1234567890ABCDEFGHIJ"
    assert main(["model=openai", "model.name=x", f"model.api_key_env={key}", *flags]) == 2
    captured = capfd.readouterr()
    assert captured.err.startswith("treereason: error: model.api_key_env: this is no name")
    assert key not in captured.err + captured.out


@pytest.mark.parametrize(
    "name", ["OPENAI_API_KEY", "my_key", "KEY2", "_", "MY_COMPANY_KEY_2024_FOR_TESTS", "TogetherKey"]
)
def test_names_of_variables_are_names(name: str) -> None:
    refuse_key(name)


def test_a_name_that_looks_like_a_key_is_fine_when_there_is_such_a_variable(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "KeyOfTheServerInTheBasement4711ForTheWholeTeam"
    monkeypatch.setenv(name, KEY)
    common = ["model=openai", "model.name=x", f"model.url={fake.url}", "display=none", f"hydra.run.dir={tmp_path}"]
    assert main([*common, f"model.api_key_env={name}", "task=few_shot", "task.limit=1", "search.k=1"]) == 0
    assert set(fake.keys) == {f"Bearer {KEY}"}


def test_a_password_in_an_address_is_not_repeated(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for url in ("http://me:secret@host/v1", "http://host/v1?key=secret"):
        assert main(["model=openai", "model.name=x", f"model.url='{url}'", f"hydra.run.dir={tmp_path}"]) == 2
        error = capfd.readouterr().err
        assert "model.url=http://" in error
        assert "secret" not in error


@pytest.mark.parametrize("key", ["sk-ab/cd+ef&gh=ij", 'sk-"quoted"-key', "sk-plain-key-0123"])
@pytest.mark.parametrize("before", ["", "Bearer ", "me:", "x"])
def test_a_key_is_found_in_base64_wherever_it_begins(key: str, before: str) -> None:
    spelled = base64.b64encode(f"{before}{key}, and more".encode()).decode()
    cleaned = Redaction(key).of_message(spelled)
    assert "***" in cleaned
    assert len(cleaned) - len("***") < len(spelled) - len(key)


@pytest.mark.parametrize(
    "answer",
    [
        f"HTTP/1.1 400 bad key {KEY}\r\nContent-Length: 0\r\n\r\n",
        "x" * 330 + KEY + "\r\n\r\n",
        *("x" * num_before + KEY * 9 + "\r\n\r\n" for num_before in range(230, 290, 7)),
    ],
)
def test_a_key_in_a_status_line_is_not_repeated_in_part(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    variant = Hostile("", lambda connection: connection.sendall(answer.encode()))
    with serving(variant) as server:
        remote = RemoteEngine(Server("x", server.url, style="plain", api_key=KEY, max_retries=0), seed=0)
        with remote:
            [child] = ask(remote, expansion())
    assert child.error is not None
    assert KEY[:6] not in child.error


def test_a_key_with_several_blanks_is_not_repeated(fake: FakeServer) -> None:
    key = "sk  a   key"
    fake.always = 400, json.dumps({"error": {"message": f"bad key {key}, go away"}})
    with engine(fake, api_key=key) as remote:
        [child] = ask(remote, expansion())
    assert child.error == "the server answered 400: bad key ***, go away"


@pytest.mark.parametrize("key", ['it\'s-"quoted"-key', "back\\slash-key", "it's-back\\slash-\"key"])
def test_a_key_inside_a_list_of_errors_is_not_repeated(fake: FakeServer, key: str) -> None:
    fake.always = 422, json.dumps({"detail": [{"loc": ["header"], "input": key}]})
    with engine(fake, api_key=key) as remote:
        [child] = ask(remote, expansion())
    assert "'input': '***'" in str(child.error).replace('"', "'")


def test_a_short_key_is_taken_out_of_messages_only() -> None:
    redaction = Redaction("none")
    assert redaction.of_message("bad key none") == "bad key ***"
    assert redaction.of_text("There is none.") == "There is none."
