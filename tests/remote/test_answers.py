"""What an answer says: text, what ended it, log-probabilities, counts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.remote.driving import ask, engine, expansion
from tests.remote.fake_server import FakeServer
from treereason.core import Finish
from treereason.remote.answer import RequestFailed
from treereason.remote.answer import read as read_answer

USAGE = ("prompt_tokens", "completion_tokens")


END, STOP, LENGTH = Finish.END, Finish.STOP, Finish.LENGTH


@pytest.mark.parametrize(
    ("choice", "text", "finish", "stop"),
    [
        ({"text": "a", "finish_reason": "stop", "stop_reason": "\n"}, "a", STOP, "\n"),
        ({"text": "a", "finish_reason": "stop", "stop_reason": None}, "a", END, ""),
        ({"text": "a", "finish_reason": "stop", "stop_reason": 2}, "a", END, ""),
        ({"text": "a", "finish_reason": "stop", "matched_stop": "\n"}, "a", STOP, "\n"),
        ({"text": "a", "finish_reason": "stop", "matched_stop": 151645}, "a", END, ""),
        ({"text": "a", "finish_reason": "length"}, "a", LENGTH, ""),
        ({"text": "a\nb;", "finish_reason": "length"}, "a", STOP, "\n"),
        ({"text": "a;", "finish_reason": "stop"}, "a", STOP, ";"),
        ({"text": "a", "finish_reason": "abort"}, "a", None, ""),
        ({"text": "a"}, "a", None, ""),
    ],
)
def test_what_ended_a_choice(choice: dict[str, Any], text: str, finish: Finish | None, stop: str) -> None:
    [read] = read_answer({"choices": [choice]}, (";", "\n")).choices
    assert (read.text, read.finish, read.stop, read.assumed) == (text, finish, stop, False)


def test_a_server_that_does_not_tell_what_ended_a_text_is_taken_to_mean_the_stop_string() -> None:
    answer = {"choices": [{"text": "a", "finish_reason": "stop"}]}
    [read] = read_answer(answer, (";", "\n")).choices
    assert (read.finish, read.stop, read.assumed) == (STOP, ";", True)
    [read] = read_answer(answer, ()).choices
    assert (read.finish, read.stop, read.assumed) == (END, "", False)


def test_that_a_stop_string_is_assumed_is_said_once(fake: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    fake.tells_stop = False
    with engine(fake) as remote:
        for problem in "01":
            [child] = ask(remote, expansion(1, "Spell: ab\n", problem, stop=(";",)))
            assert (child.finish, child.stop) == (STOP, ";")
    assert [record.message for record in caplog.records if record.name.startswith("treereason")] == [
        "the server does not tell what ended a text: the first stop string is assumed, not the model's own end"
    ]


def test_why_a_text_ended_reaches_the_thought(fake: FakeServer) -> None:
    prompt = "Spell: abcd\n"
    with engine(fake) as remote:
        decoded = ask(remote, expansion(1, prompt, "0"))
        decoded += ask(remote, expansion(1, prompt, "1", stop=("c",)))
        decoded += ask(remote, expansion(1, prompt, "2", max_tokens=2))
    assert [(child.text, child.finish, child.stop) for child in decoded] == [
        ("abcd", END, ""),
        ("ab", STOP, "c"),
        ("ab", LENGTH, ""),
    ]


def test_logprobs_are_read_in_the_form_of_chat_completions_too() -> None:
    content = [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1.5}, {"token": "c"}, None]
    [read] = read_answer({"choices": [{"text": "ab", "logprobs": {"content": content}}]}, ()).choices
    assert (read.logprob, read.num_tokens) == (-2.0, 4)


@pytest.mark.parametrize("value", [None, {}, {"choices": None}, {"choices": ["a"]}, {"choices": [{"text": None}]}])
def test_what_is_no_completion(value: Any) -> None:
    with pytest.raises(RequestFailed):
        read_answer(value, ())


def test_odd_figures_count_as_nothing() -> None:
    odd = {"choices": [{"text": "a", "index": "0", "logprobs": {"token_logprobs": [None, -1]}}], "usage": 3}
    answer = read_answer(odd, ())
    assert (answer.choices[0].logprob, answer.choices[0].num_tokens, answer.num_prompt_tokens) == (-1.0, 2, 0)
    for count in (-1, True, 2.5, 10**400):
        answer = read_answer({"choices": [{"text": "a"}], "usage": dict.fromkeys(USAGE, count)}, ())
        assert (answer.choices[0].num_tokens, answer.num_prompt_tokens) == (0, 0)
