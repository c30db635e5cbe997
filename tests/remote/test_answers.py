"""What an answer says: text, what ended it, log-probabilities, counts."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.remote.driving import ask, engine, expansion
from tests.remote.fake_server import FakeServer
from treereason.core import Finish
from treereason.remote.answer import read as read_answer
from treereason.remote.errors import RequestFailed
from treereason.remote.logprobs import TokenLogprob, num_of_start

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
        ({"text": "a", "finish_reason": "stop", "matched_stop": "<|im_end|>"}, "a", END, ""),
        ({"text": "a", "finish_reason": "eos_token"}, "a", END, ""),
        ({"text": "a", "finish_reason": "EOS"}, "a", END, ""),
        ({"text": "a", "finish_reason": "end-turn"}, "a", END, ""),
        ({"text": "a", "finish_reason": "stop", "stop_reason": "eos_token"}, "a", END, ""),
        ({"text": "a", "stop_type": "eos", "stopping_word": ""}, "a", END, ""),
        ({"text": "a", "stop_type": "word", "stopping_word": "\n"}, "a", STOP, "\n"),
        ({"text": "a", "finish_reason": "stop_sequence", "stop_sequence": "\n"}, "a", STOP, "\n"),
        ({"text": "a", "finish_reason": {"type": "stop", "matched": "\n"}}, "a", STOP, "\n"),
        ({"text": "a", "finish_reason": {"type": "stop", "matched": 2}}, "a", END, ""),
        ({"text": "a", "finish_reason": {"type": "length", "length": 7}}, "a", LENGTH, ""),
        ({"text": "a", "finish_reason": "MAX_TOKENS"}, "a", LENGTH, ""),
        ({"text": "a", "finish_reason": None, "matched_stop": "\n"}, "a", STOP, "\n"),
        ({"text": "a", "finish_reason": 3}, "a", None, ""),
        ({"text": "a", "finish_reason": "no_such_reason"}, "a", None, ""),
        ({"text": "a", "finish_reason": "tool_calls"}, "a", END, ""),
        ({"text": "a", "finish_reason": "COMPLETE"}, "a", END, ""),
        ({"text": "a", "finish_reason": "model_context_window_exceeded"}, "a", LENGTH, ""),
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


def test_the_word_stop_in_place_of_a_stop_string_tells_nothing() -> None:
    answer = {"choices": [{"text": "a", "finish_reason": "stop", "stop_reason": "stop"}]}
    [read] = read_answer(answer, (";", "\n")).choices
    assert (read.finish, read.stop, read.assumed) == (STOP, ";", True)
    [read] = read_answer(answer, (";", "stop")).choices
    assert (read.finish, read.stop, read.assumed) == (STOP, "stop", False)


@pytest.mark.parametrize(
    "choice",
    [
        {"text": "27", "finish_reason": "content_filter"},
        {"text": "27", "finish_reason": "abort"},
        {"text": "27", "finish_reason": {"type": "abort", "message": "out of memory"}},
        {"text": "", "finish_reason": "error", "error": {"code": 502}},
        {"text": "27", "finish_reason": "stop", "error": "upstream"},
    ],
)
def test_a_text_that_the_server_broke_off_fails_alone(fake: FakeServer, choice: dict[str, Any]) -> None:
    body = {"choices": [{"text": "1"}, choice, {"text": "3"}], "usage": {"completion_tokens": 6}}
    fake.scripted.append((200, {}, json.dumps(body)))
    with engine(fake) as remote:
        children = ask(remote, expansion(3))
    assert [child.text for child in children] == ["1", "", "3"]
    assert [child.error is None for child in children] == [True, False, True]
    assert str(children[1].error).startswith("the server broke the text off: ")
    assert children[1].cost.tokens_decoded == 2


@pytest.mark.parametrize("odd", [{"text": None}, {"text": 3}, {}, None, "text", [], {"text": ["a"]}])
def test_a_choice_without_text_is_asked_for_again(fake: FakeServer, odd: Any) -> None:
    body = {"choices": [{"index": 0, "text": "1"}, odd, {"index": 2, "text": "3"}]}
    fake.scripted.append((200, {}, json.dumps(body)))
    with engine(fake) as remote:
        children = ask(remote, expansion(3))
    assert [(child.text, child.error) for child in children[:2]] == [("1", None), ("3", None)]
    assert children[2].error is None
    assert [request["n"] for request in fake.requests] == [3, 1]


@pytest.mark.parametrize("indices", [("2", "0", "1"), (2.0, 0.0, 1.0), (3, 1, 2)])
def test_choices_are_sorted_by_an_index_of_any_form(indices: tuple[Any, ...]) -> None:
    choices = [{"index": index, "text": text} for index, text in zip(indices, "cab", strict=True)]
    assert [choice.text for choice in read_answer({"choices": choices}, ()).choices] == ["a", "b", "c"]


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


def test_a_stop_sequence_that_no_field_names_is_assumed_among_several_only() -> None:
    for stops, assumed in (((";", "\n"), True), ((";",), False)):
        [read] = read_answer({"choices": [{"text": "a", "finish_reason": "stop_sequence"}]}, stops).choices
        assert (read.finish, read.stop, read.assumed) == (STOP, ";", assumed)


@pytest.mark.parametrize(
    ("logprobs", "logprob", "num_tokens"),
    [
        ({"content": [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1}]}, -1.5, 2),
        ({"content": [{"token": "ab", "logprob": -1.5, "top_logprobs": []}]}, -1.5, 1),
        ({"tokens": ["a", "b"], "token_logprobs": [-0.5, -1.0]}, -1.5, 2),
        ({"tokens": [17, 18], "token_logprobs": [-0.5, -1.0]}, -1.5, 2),
        ([{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1.0}], -1.5, 2),
        ([-0.5, -1.0], -1.5, 2),
        ([[-0.5, 17, "a"], [-1.0, 18, "b"]], -1.5, 2),
        ([{"text": "a", "logprob": -0.5}, {"text": "b", "logprob": -1.0}], -1.5, 2),
        ({"content": [{"token": "ab", "logprob": -1.5}], "token_logprobs": []}, -1.5, 1),
        ({"tokens": ["a", "b"], "token_logprobs": [-0.5]}, None, 2),
        ({"tokens": ["a"], "token_logprobs": [-0.5, -1.0]}, -1.5, 2),
        ({"tokens": ["a"], "token_logprobs": [-0.5]}, None, 1),
        ({"content": [{"token": "a", "logprob": -0.5}]}, None, 1),
        ({"token_logprobs": [-1e308, -1e308]}, None, 2),
        ({"token_logprobs": [0.0, -0.0]}, 0.0, 2),
        ({"token_logprobs": [1e-3, 1e-3]}, 2e-3, 2),
        ({"content": []}, None, 0),
        ({"tokens": [], "token_logprobs": []}, None, 0),
        ({"content": [{"token": "a", "logprob": -0.5}, {"token": "b"}]}, None, 2),
        ({"content": [{"token": "a", "logprob": -0.5}, None]}, None, 2),
        ({"token_logprobs": [-0.5, None]}, None, 2),
        ({"token_logprobs": [-0.5, "-1"]}, None, 2),
        ({"token_logprobs": [-0.5, True]}, None, 2),
        ({"token_logprobs": [float("nan")]}, None, 1),
        ({"token_logprobs": [float("-inf")]}, None, 1),
        ({"token_logprobs": [3.0]}, None, 1),
        ({"token_logprobs": [-(10**400)]}, None, 1),
        ({"token_logprobs": None}, None, 0),
        (None, None, 0),
        ("none", None, 0),
    ],
)
def test_logprobs_in_every_form_and_none_where_one_was_not_told(
    logprobs: Any, logprob: float | None, num_tokens: int
) -> None:
    [read] = read_answer({"choices": [{"text": "ab", "logprobs": logprobs}]}, ()).choices
    assert (read.logprob, read.num_tokens) == (logprob, num_tokens)


def test_a_text_without_tokens_is_certain() -> None:
    [read] = read_answer({"choices": [{"text": "", "logprobs": {"tokens": [], "token_logprobs": []}}]}, ()).choices
    assert (read.logprob, read.num_tokens) == (0, 0)


@pytest.mark.parametrize(
    ("tokens", "logprob"), [(list("ab;cd"), -3.0), (["ab", ";c", "d"], -2.0), (["a", "?"], None), ([1, 2], None)]
)
def test_tokens_behind_a_stop_string_that_the_server_ran_past_do_not_count(
    tokens: list[Any], logprob: float | None
) -> None:
    logprobs = {"tokens": tokens, "token_logprobs": [-1.0] * len(tokens)}
    [read] = read_answer({"choices": [{"text": "ab;cd", "logprobs": logprobs}]}, (";",)).choices
    assert (read.text, read.stop, read.logprob, read.num_tokens) == ("ab", ";", logprob, len(tokens))


def test_the_time_to_read_logprobs_grows_with_their_number_only() -> None:
    num_tokens = 1_000_000
    started = time.thread_time()
    assert num_of_start([TokenLogprob("\u00e9", -1.0)] * num_tokens, "\u00e9" * (num_tokens - 1)) == num_tokens - 1
    assert time.thread_time() - started < 4


def test_half_a_character_is_replaced() -> None:
    [read] = read_answer({"choices": [{"text": "a\ud83d\ude00 \ud83d b"}]}, ()).choices
    assert read.text == "a\U0001f600 \ufffd b"


@pytest.mark.parametrize("value", [None, {}, {"choices": None}, {"choices": ["a"]}, {"choices": [{"text": None}]}])
def test_what_is_no_completion(value: Any) -> None:
    with pytest.raises(RequestFailed):
        read_answer(value, ())


def test_odd_figures_count_as_nothing() -> None:
    odd = {"choices": [{"text": "a", "index": "0", "logprobs": {"token_logprobs": [None, -1]}}], "usage": 3}
    answer = read_answer(odd, ())
    assert (answer.choices[0].logprob, answer.choices[0].num_tokens, answer.num_prompt_tokens) == (None, 2, 0)
    for count in (-1, True, 2.5, 10**400, 1e300, float("nan"), "-3", "3 tokens", "9" * 5000, None, [3]):
        answer = read_answer({"choices": [{"text": "a"}], "usage": dict.fromkeys(USAGE, count)}, ())
        assert (answer.choices[0].num_tokens, answer.num_prompt_tokens) == (0, 0)
    for count in (3, 3.0, "3"):
        answer = read_answer({"choices": [{"text": "a"}], "usage": dict.fromkeys(USAGE, count)}, ())
        assert (answer.choices[0].num_tokens, answer.num_prompt_tokens) == (3, 3)
