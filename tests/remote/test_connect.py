"""What is found out about a server before its first run: which endpoint is meant, and what it can do."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

import treereason as tr
from tests.remote.driving import SEARCHES, ask, expansion, lines, run
from tests.remote.fake_server import FakeServer
from treereason import events
from treereason.cli.main import main
from treereason.core import Expansion, Finish, Prompt, Sampling, UserError
from treereason.record.journal import read
from treereason.remote.connect import connect
from treereason.remote.engine import RemoteEngine
from treereason.remote.server import Server


def connected(fake: FakeServer, endpoint: str = "auto", **options: Any) -> Server:
    server = Server("fake", fake.url, style="chat", endpoint=endpoint, max_retries=0, **options)
    connect(server)
    return server


def chosen(server: Server) -> tuple[str, str, str]:
    return server.endpoint, server.style, server.capabilities.told["endpoint"]


def test_auto_is_chat_where_it_answers(fake: FakeServer) -> None:
    assert chosen(connected(fake)) == ("chat", "chat", "chat (it answers)")
    fake.tells_template = True
    assert chosen(connected(fake)) == ("chat", "chat", "chat (it answers, and /props tell a chat template)")


@pytest.mark.parametrize(
    ("tells", "why"),
    [
        (True, "the server's /props tell no chat template"),
        (False, "the server answered 400: the model has no chat template"),
    ],
)
def test_auto_is_completions_for_a_model_without_a_chat_template(fake: FakeServer, tells: bool, why: str) -> None:
    fake.template, fake.tells_template = "", tells
    assert chosen(connected(fake)) == ("completions", "plain", f"completions (not chat: {why})")


def test_a_server_where_no_endpoint_answers_ends_it_before_the_run(
    fake: FakeServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fake.always = 404, '{"error": "no such model"}'
    assert main(["model=openai", "model.name=x", f"model.url={fake.url}", f"hydra.run.dir={tmp_path}"]) == 2
    said = "no endpoint answers for model.name=x: chat: the server answered 404: no such model; completions: the server"
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    with pytest.raises(UserError, match="no endpoint answers"):
        tr.load(fake.url, name="x")


def test_the_choice_is_told_in_one_line_and_kept_in_the_record(
    fake: FakeServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    summary = run(fake, tmp_path, *SEARCHES["few_shot"], "model.endpoint=auto", "baseline=none")
    [line] = [line for line in capfd.readouterr().err.splitlines() if line.startswith("treereason: the server: ")]
    assert line == f"treereason: the server: {summary['server']}"
    assert summary["server"].startswith("endpoint: chat (it answers); ")
    [started, *_] = [event for event in read(tmp_path / "journal.sqlite") if isinstance(event, events.RunStarted)]
    assert started.config["model"]["endpoint"] == "chat"
    assert len(lines(tmp_path)) == 4


def test_python_asks_for_an_endpoint_as_the_command_line_does(
    fake: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert tr.load(fake.url, name="fake").endpoint == "chat"
    server = tr.load(fake.url, name="fake", endpoint="completions")
    assert chosen(server) == ("completions", "plain", "completions (as asked for)")
    assert caplog.messages[-1] == f"model.url={fake.url}: {server.capabilities}"


def test_what_a_server_can_do_is_told(fake: FakeServer) -> None:
    told = dict(connected(fake, "chat").capabilities.told)
    assert told == {
        "endpoint": "chat (as asked for)",
        "sampling": "yes",
        "seed": "kept",
        "n": "yes",
        "logprobs": "yes",
        "stop": "cut there, and told which",
        "continuation": "yes, continue_final_message",
        "top_logprobs": "yes",
        "top_k": "yes",
        "min_p": "yes",
    }
    fake.logprobs = fake.filters = fake.tells_stop = False
    fake.max_n, fake.same_seed, fake.continues, fake.echo = 1, True, "", 500
    told = dict(connected(fake, "chat").capabilities.told)
    assert (told["n"], told["logprobs"], told["top_k"]) == ("no, a request for each child", "not told", "ignored")
    assert (told["stop"], told["continuation"]) == ("cut there, not told which", "no: it begins a new message")
    assert told["top_logprobs"] == "no"
    assert connected(fake, "completions").capabilities.told["echo"] == "no"


def test_a_server_in_trouble_is_not_waited_for_and_the_run_goes_on(fake: FakeServer) -> None:
    fake.always = 500, '{"error": "out of memory"}'
    told = connected(fake, "chat").capabilities.told
    assert told["what it can do"] == "not known: the server answered 500: out of memory"


def test_sampling_of_the_servers_own_is_switched_off(fake: FakeServer) -> None:
    """llama.cpp samples from 40 tokens at most unless it is told otherwise, and vLLM as the model's folder says."""
    with RemoteEngine(connected(fake, "completions"), seed=0) as remote:
        ask(remote, expansion())
        ask(remote, Expansion("1", (), Prompt("x"), ((0,),), Sampling(1.0, top_k=5)))
    plain, asked = fake.requests[-2:]
    named = ("top_k", "min_p", "repeat_penalty", "repetition_penalty")
    assert [plain[name] for name in named] == [0, 0.0, 1.0, 1.0]
    assert [asked[name] for name in named] == [5, 0.0, 1.0, 1.0]


def test_what_a_server_refuses_or_ignores_is_not_sent(fake: FakeServer) -> None:
    fake.filters = False
    fake.refuses = lambda request: request.get("repeat_penalty") is not None
    with RemoteEngine(connected(fake, "completions"), seed=0) as remote:
        assert ask(remote, expansion())[0].error is None
    assert not {"top_k", "min_p", "repeat_penalty"} & fake.requests[-1].keys()


def test_a_server_that_samples_by_a_generation_config_alone_is_sent_one(fake: FakeServer) -> None:
    """transformers' server, where the model's own settings do not ask for sampling."""
    fake.samples = "by generation_config"
    server = connected(fake, "completions")
    assert server.capabilities.told["sampling"] == "yes, by generation_config"
    with RemoteEngine(server, seed=0) as remote:
        children = ask(remote, Expansion("0", (), Prompt("x"), ((0,), (1,)), Sampling(0.7, top_k=5, min_p=0.1)))
    assert len({child.text for child in children}) == 2
    request = fake.requests[-1]
    assert not {"top_k", "min_p"} & request.keys()
    settings = json.loads(request["generation_config"])
    assert settings == {"do_sample": True, "repetition_penalty": 1.0, "top_k": 5, "min_p": 0.1}


def test_a_text_without_its_stop_string_ended_by_itself_where_the_server_leaves_them_in(fake: FakeServer) -> None:
    """transformers' server."""
    fake.keeps_stops, fake.tells_stop = True, False
    server = connected(fake, "completions")
    assert server.capabilities.told["stop"] == "left in the text"
    with RemoteEngine(server, seed=0) as remote:
        [stopped] = ask(remote, expansion(1, "Spell: ab;cd\n", stop=(";",)))
        [ended] = ask(remote, expansion(1, "Spell: abcd\n", "1", stop=(";",)))
    assert (stopped.text, stopped.stop, stopped.finish) == ("ab", ";", Finish.STOP)
    assert (ended.text, ended.stop, ended.finish) == ("abcd", "", Finish.END)


def test_a_form_of_continuation_that_was_seen_is_not_asked_for_again(fake: FakeServer) -> None:
    fake.continues = "prefix"
    server = connected(fake, "chat")
    num_asked = len(fake.requests)
    with RemoteEngine(server, seed=0) as remote:
        ask(remote, expansion(1, "Spell: ab;cde\n", stop=(";",)))
        [child] = ask(remote, Expansion("0", (0,), Prompt("c", appended=True), ((0, 0),), Sampling()))
    assert (child.text, child.error) == ("de", None)
    assert len(fake.requests) == num_asked + 2


@pytest.mark.parametrize(("told", "num_tokens"), [("logprobs", [3, 2]), ("usage", [3, 2]), ("", [0, 0])])
def test_a_drawn_thought_knows_its_tokens_where_the_server_tells(
    fake: FakeServer, told: str, num_tokens: list[int]
) -> None:
    fake.logprobs, fake.usage = told == "logprobs", told == "usage"
    with RemoteEngine(connected(fake, "completions"), seed=0) as remote:
        found = [ask(remote, expansion(1, f"Spell: {word}\n", str(len(word))))[0] for word in ("abc", "ab")]
        assert [child.num_tokens for child in found] == num_tokens
        several = ask(remote, expansion(2, "Spell: abc\n", "several"))
    assert [child.num_tokens for child in several] == ([3, 3] if told == "logprobs" else [0, 0]), "a share is a guess"
