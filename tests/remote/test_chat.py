"""The chat endpoint: prompts go as messages, and what the model has begun to say is continued."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.remote.driving import SEARCHES, ask, expansion, lines, run
from tests.remote.fake_server import FakeServer
from treereason.core import Expansion, Finish, Prompt, Resumption, Sampling
from treereason.remote.dialect import TRIAL
from treereason.remote.engine import RemoteEngine
from treereason.remote.server import Server, message_text


def engine(fake: FakeServer) -> RemoteEngine:
    return RemoteEngine(Server("fake", fake.url, style="chat", endpoint="chat", max_retries=0), seed=0)


def below(text: str) -> Expansion:
    return Expansion("0", (0,), Prompt(text, appended=True), ((0, 0),), Sampling())


def test_a_prompt_becomes_messages(fake: FakeServer) -> None:
    with engine(fake) as remote:
        assert remote.style == "chat"
        [child, _] = ask(remote, expansion(2, "text", shared="shared ", system="be short", turns=(("hi", "ho"),)))
    [request] = fake.requests
    assert request["messages"] == [
        {"role": "system", "content": "be short"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "ho"},
        {"role": "user", "content": "shared text"},
    ]
    assert not {"prompt", "continue_final_message"} & request.keys()
    assert request["logprobs"] is True
    assert (child.error, child.logprob) == (None, -0.5 * len(child.text))


def test_an_appended_prompt_continues_the_models_message(fake: FakeServer) -> None:
    with engine(fake) as remote:
        ask(remote, expansion(1, "Spell: ab;cd\n", stop=(";",)))
        [child] = ask(remote, below("c"))
    request = fake.requests[-1]
    assert request["messages"][-1] == {"role": "assistant", "content": "ab;c"}
    assert (request["add_generation_prompt"], request["continue_final_message"]) == (False, True)
    assert (child.text, child.error) == ("d", None)


def test_a_thought_is_resumed(fake: FakeServer) -> None:
    with engine(fake) as remote:
        ask(remote, expansion(1, "Spell: abcdef\n", max_tokens=3))
        [thought] = ask(remote, Resumption("0", (0,), Prompt("Spell: abcdef\n", max_tokens=9), Sampling()))
    assert (thought.text, thought.finish, thought.logprob) == ("abcdef", Finish.END, -3.0)


def continuations(fake: FakeServer) -> int:
    return sum(request["messages"][-1]["role"] == "assistant" for request in fake.requests)


@pytest.mark.parametrize("refused", [True, False])
def test_a_server_that_continues_nothing_is_found_out_once_and_named(fake: FakeServer, refused: bool) -> None:
    fake.continues = ""
    if refused:
        fake.refuses = lambda request: request["messages"][-1]["role"] == "assistant"
        fake.refusal = 400, "Expected last role user"
    with engine(fake) as remote:
        ask(remote, expansion(1, "Spell: ab;cd\n", stop=(";",)))
        errors = [child.error for child in ask(remote, below("c"))]
        asked = continuations(fake)
        errors += [child.error for child in ask(remote, below("c"))]
        assert ask(remote, expansion(1, "x", "1"))[0].error is None
    reason = "the server answered 400: Expected last role user" if refused else "it begins a new message"
    said = (
        f"model.url={fake.url}: the chat endpoint does not continue a text, which appended prompts and resume() "
        f"need: {reason}; vLLM, SGLang and llama.cpp do, or give model.endpoint=completions"
    )
    assert errors == [said, said]
    assert continuations(fake) == asked


@pytest.mark.parametrize("form", ["continue_final_message", "prefix", "as it is"])
@pytest.mark.parametrize("repeats", [True, False])
@pytest.mark.parametrize("usage", [True, False])
def test_a_text_is_continued_in_the_form_that_the_server_knows(
    fake: FakeServer, form: str, repeats: bool, usage: bool
) -> None:
    fake.continues, fake.repeats_text, fake.usage = form, repeats, usage
    with engine(fake) as remote:
        ask(remote, expansion(1, "Spell: ab;cde\n", stop=(";",)))
        [child] = ask(remote, below("c"))
    assert (child.text, child.error) == ("de", None)
    assert fake.requests[-1]["messages"][-1]["content"] == "ab;c"


def test_optional_fields_are_learned_there_too(fake: FakeServer) -> None:
    fake.refuses = lambda request: request.get("n", 1) > 1 or "logprobs" in request
    with engine(fake) as remote:
        children = ask(remote, expansion(3))
    assert [(child.error, child.logprob) for child in children] == [(None, None)] * 3
    assert {"role": "user", "content": TRIAL} in [request["messages"][0] for request in fake.requests]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "a"}, "a"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, 3, {"text": 4}]}, "ab"),
        ({"content": ["a", "b"]}, "ab"),
        ({"content": [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "a"}]}, "a"),
        ({"content": [{"type": "image_url"}]}, None),
        ({"content": []}, ""),
        ({"content": None}, None),
        ({"content": 3}, None),
        ({}, None),
        ("a", None),
    ],
)
def test_what_the_text_of_a_message_is(message: Any, text: str | None) -> None:
    assert message_text(message) == text


@pytest.mark.parametrize("search", ["sorting", "line by line"])
def test_tasks_and_searches_run_on_it(fake: FakeServer, tmp_path: Path, search: str) -> None:
    summary = run(fake, tmp_path, *SEARCHES[search], "model.endpoint=chat", "baseline=none")
    assert (summary["problems_done"], summary["failed"]) == (4, 0)
    assert len(lines(tmp_path)) == 4
    assert all("messages" in request for request in fake.requests)
