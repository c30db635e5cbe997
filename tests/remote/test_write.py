"""Given text, measured: how likely the server's model finds it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.remote.driving import ask, engine, expansion
from tests.remote.fake_server import FakeServer, token_logprob
from treereason.core import Expansion, Finish, Prompt, Sampling, Writing
from treereason.remote.answer import read_echo
from treereason.remote.dialect import TRIAL
from treereason.remote.echo import logprob_behind
from treereason.remote.errors import RequestFailed
from treereason.remote.logprobs import TokenLogprob


def writing(*texts: str, prompt: str = "Is it so? ", parent: tuple[int, ...] = (), **options: Any) -> Writing:
    children = tuple((*parent, rank) for rank in range(len(texts)))
    return Writing("0", parent, Prompt(prompt, **options), children, texts)


def by_letters(prompt: str, text: str) -> float:
    return sum(token_logprob(prompt + text[:at], letter) for at, letter in enumerate(text))


@pytest.mark.parametrize("begin", ["", "<s>"])
@pytest.mark.parametrize("usage", [True, False])
@pytest.mark.parametrize("echo", ["full", "from 1"])
def test_a_given_text_is_worth_the_sum_over_its_own_tokens(
    fake: FakeServer, echo: Any, usage: bool, begin: str
) -> None:
    fake.echo, fake.usage, fake.begin = echo, usage, begin
    texts = ("yes", "yes, it is", "no", "Is it so? ", "")
    with engine(fake) as remote:
        written = ask(remote, writing(*texts))
    assert [child.text for child in written] == list(texts)
    assert [child.logprob for child in written] == pytest.approx([by_letters("Is it so? ", text) for text in texts])
    assert all((child.finish, child.stop, child.error) == (Finish.GIVEN, "", None) for child in written)
    assert all(child.cost.tokens_decoded == 0 for child in written)


def test_the_first_child_bears_the_cost_of_reading_the_prompt_alone(fake: FakeServer) -> None:
    with engine(fake) as remote:
        written = ask(remote, writing("ab", "c", prompt="1234"))
    assert [child.cost.tokens_prefilled for child in written] == [4 + 6, 5]


def test_a_token_that_spans_the_border_counts_to_the_text(fake: FakeServer) -> None:
    fake.merges = ("bc",)
    with engine(fake) as remote:
        [cut, whole] = ask(remote, writing("cd", "d", prompt="ab"))
    assert cut.logprob == pytest.approx(token_logprob("a", "bc") + token_logprob("abc", "d"))
    assert whole.logprob == pytest.approx(token_logprob("ab", "d"))


def test_a_text_is_measured_behind_everything_above_it(fake: FakeServer) -> None:
    with engine(fake) as remote:
        [above] = ask(remote, expansion(1, "Spell: abc;d\n", stop=(";",)))
        [child] = ask(remote, writing("e", prompt="!", parent=(0,), appended=True))
        [below] = ask(remote, writing("f", prompt="", parent=(0, 0), appended=True))
    assert above.text + above.stop == "abc;"
    assert child.logprob == pytest.approx(token_logprob("Spell: abc;d\nabc;!", "e"))
    assert below.logprob == pytest.approx(token_logprob("Spell: abc;d\nabc;!e", "f"))


def test_a_given_text_can_be_continued(fake: FakeServer) -> None:
    with engine(fake) as remote:
        ask(remote, writing("abc", prompt="Spell: abcdef\n"))
        [child] = ask(remote, Expansion("0", (0,), Prompt("", appended=True), ((0, 0),), Sampling()))
    assert child.text == "def"


@pytest.mark.parametrize(
    ("echo", "reason"),
    [
        (400, "the server answered 400: Only no echo is supported"),
        (422, "the server answered 422: Only no echo is supported"),
        (500, "the server answered 500: Only no echo is supported"),
        ("null", "the server's answer leaves the log-probabilities of the prompt empty"),
        ("ignored", "the server's answer has no log-probabilities of the prompt"),
    ],
)
def test_a_server_that_does_not_echo_is_asked_once_and_named(fake: FakeServer, echo: Any, reason: str) -> None:
    fake.echo = echo
    with engine(fake, max_retries=0) as remote:
        first = ask(remote, writing("a", "b", parent=(1,)))
        num_asked = len(fake.requests)
        again = ask(remote, writing("c", parent=(2,)))
        assert [child.error for child in ask(remote, expansion())] == [None]
    line = (
        f"model.url={fake.url}: the server does not echo log-probabilities of given text, so write() is not possible: "
        f"{reason}; vLLM and SGLang have them"
    )
    assert [child.error for child in first + again] == [line] * 3
    assert [request["max_tokens"] for request in fake.requests[:num_asked]] == [0, 1]
    assert {request["prompt"] for request in fake.requests[:num_asked]} == {TRIAL}
    assert len(fake.requests) == num_asked + 1


def test_a_server_that_decodes_instead_of_echoing_is_found_out(fake: FakeServer) -> None:
    fake.echo, fake.usage = "ignored", False
    with engine(fake) as remote:
        [child] = ask(remote, writing("a"))
    assert "write() is not possible" in str(child.error)
    assert {request["prompt"] for request in fake.requests} == {TRIAL}


def test_a_server_that_was_too_busy_is_asked_again(fake: FakeServer) -> None:
    fake.scripted.append((503, {}, "later"))
    with engine(fake, max_retries=0) as remote:
        [failed] = ask(remote, writing("a"))
        [written] = ask(remote, writing("a"))
    assert failed.error == "the server answered 503: later"
    assert written.error is None


def test_one_text_that_fails_leaves_the_others_alone(fake: FakeServer) -> None:
    fake.max_letters = 12
    with engine(fake) as remote:
        written = ask(remote, writing("a", "a longer text", "b"))
    assert [child.error for child in written] == [None, "the server answered 413: the prompt is too long", None]


def test_a_prompt_that_fails_fails_all_its_texts(fake: FakeServer) -> None:
    with engine(fake) as remote:
        written = ask(remote, writing("a", "b", prompt="", token_ids=(1, 2)))
        fake.max_letters = 9
        written += ask(remote, writing("a", "b"))
    assert all("token ids" in str(child.error) for child in written[:2])
    assert [child.error for child in written[2:]] == ["the server answered 413: the prompt is too long"] * 2


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {"tokens": ["a", "b"]},
        {"tokens": ["a"], "token_logprobs": [None, -1.0]},
        {"tokens": [], "token_logprobs": []},
        {"tokens": ["a", "b", "c"], "token_logprobs": [None, None, -1.0]},
    ],
)
def test_what_is_no_echo(logprobs: Any) -> None:
    with pytest.raises(RequestFailed):
        read_echo({"choices": [{"text": "", "logprobs": logprobs}], "usage": {"prompt_tokens": 3}}, 0)


def test_texts_that_share_their_start_are_told_apart_by_tokens_only() -> None:
    prompt = [TokenLogprob("a", None), TokenLogprob("b", -1.0)]
    whole = [TokenLogprob("a", None), TokenLogprob("b", -2.0), TokenLogprob("b", -4.0)]
    assert logprob_behind(prompt, whole) == -4.0
    assert logprob_behind([], whole) is None, "nothing tells how likely a first token is"
    assert logprob_behind(prompt, prompt) == 0.0
