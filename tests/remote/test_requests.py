"""Which requests an expansion becomes, and what its children cost."""

from __future__ import annotations

import json

import pytest

from tests.remote.driving import ask, drain, engine, expansion
from tests.remote.fake_server import FakeServer
from treereason.core import Expansion, Prompt, Sampling
from treereason.remote.completions import request_seed


@pytest.mark.parametrize("max_n", [1, 2, 100])
def test_children_come_from_one_request_or_from_those_it_takes(fake: FakeServer, max_n: int) -> None:
    fake.max_n = max_n
    with engine(fake) as remote:
        decoded = ask(remote, expansion(5, "text"))
        asked = [request["n"] for request in fake.requests]
        assert asked == {1: [5, 1, 1, 1, 1], 2: [5, 1, 1, 1], 100: [5]}[max_n]
        first = request_seed(0, "0", (0,))
        seeds = [first + rank if rank < max_n else request_seed(0, "0", (rank,)) for rank in range(5)]
        assert [child.text for child in decoded] == [f" {seed}" for seed in seeds]
        bearers = range(1) if max_n == 100 else [0, *range(max_n, 5)]
        assert [child.cost.tokens_prefilled for child in decoded] == [4 * (rank in bearers) for rank in range(5)]
        # What was learnt of the server saves requests and changes nothing else.
        remote.end_problem("0")
        again = ask(remote, expansion(5, "text"))
        assert [(child.text, child.cost) for child in again] == [(c.text, c.cost) for c in decoded]
        assert [request["n"] for request in fake.requests][len(asked) :] == ([1] * 5 if max_n == 1 else asked)


def test_children_at_temperature_0_are_asked_for_one_by_one(fake: FakeServer) -> None:
    with engine(fake) as remote:
        decoded = ask(remote, Expansion("0", (), Prompt("x"), ((0,), (1,)), Sampling(0.0)))
    assert [child.error for child in decoded] == [None, None]
    assert [request["n"] for request in fake.requests] == [1, 1]


@pytest.mark.parametrize("logprobs", [True, False])
def test_costs_and_logprobs_are_each_childs_own(fake: FakeServer, logprobs: bool) -> None:
    fake.logprobs = logprobs
    with engine(fake) as remote:
        decoded = ask(remote, expansion(3, "Given: [3, 1, 2]\n", shared="head "))
    num_letters = [len(child.text) for child in decoded]
    assert len(set(num_letters)) == 2
    counts = [child.cost.tokens_decoded for child in decoded]
    assert sum(counts) == sum(num_letters)
    assert counts == num_letters if logprobs else max(counts) - min(counts) <= 1
    assert [child.logprob for child in decoded] == ([-0.5 * count for count in counts] if logprobs else [None] * 3)
    assert [child.cost.tokens_prefilled for child in decoded] == [len("head Given: [3, 1, 2]\n"), 0, 0]


def test_no_more_requests_are_open_than_allowed(fake: FakeServer) -> None:
    fake.max_n = 1
    fake.delay = lambda _: 0.03
    with engine(fake, concurrency=3) as remote:
        for problem in range(6):
            remote.submit(expansion(4, problem=str(problem)))
        assert len(drain(remote)) == 24
    assert fake.most_in_flight == 3


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (Prompt("", token_ids=(1, 2)), "token ids"),
        (Prompt("", appended=True), "after a thought that ended its text"),
    ],
)
def test_prompts_that_a_server_cannot_be_sent(fake: FakeServer, second: Prompt, said: str) -> None:
    with engine(fake) as remote:
        ask(remote, expansion())
        decoded = ask(remote, Expansion("0", (0,), second, ((0, 0), (0, 1)), Sampling()))
    assert [child.path for child in decoded] == [(0, 0), (0, 1)]
    assert all(said in str(child.error) for child in decoded)
    assert len(fake.requests) == 1


def test_a_dropped_thoughts_text_is_known_until_its_problem_ends(fake: FakeServer) -> None:
    below = Expansion("0", (0,), Prompt("y", appended=True), ((0, 0),), Sampling())
    with engine(fake) as remote:
        [above] = ask(remote, expansion())
        remote.drop("0", (0,))
        assert [child.error for child in ask(remote, below)] == [None]
        assert fake.requests[-1]["prompt"] == f"x{above.text}y"
        remote.end_problem("0")
        [orphan] = ask(remote, below)
    assert orphan.error == "an appended prompt, but the parent has no text: it failed, or its problem has ended"


def test_system_and_earlier_turns_stand_in_front_as_plain_text(fake: FakeServer) -> None:
    with engine(fake) as remote:
        ask(remote, expansion(1, "text", shared="shared ", system="system ", turns=(("user ", "model "),)))
        assert remote.style == "plain"
    assert fake.requests[0]["prompt"] == "system user model shared text"


def test_an_appended_prompt_goes_behind_the_whole_text(fake: FakeServer) -> None:
    with engine(fake) as remote:
        [above] = ask(remote, expansion(1, "b", shared="a", stop=("9",), ignore_end=True))
        ask(remote, Expansion("0", (0,), Prompt("c", appended=True), ((0, 0),), Sampling()))
    first, second = fake.requests
    assert first["prompt"] == "ab"
    assert first["stop"] == ["9"]
    assert first["ignore_eos"] is True
    assert "stop" not in second
    seed = str(request_seed(0, "0", (0,)))
    assert above.text == " " + seed.partition("9")[0]
    assert second["prompt"] == f"ab{above.text}{'9' if '9' in seed else ''}c"


@pytest.mark.parametrize("told", [{"matched_stop": "##"}, {"stop_reason": "##"}])
def test_what_follows_goes_behind_the_stop_string_that_the_server_names(fake: FakeServer, told: dict[str, str]) -> None:
    choice = {"index": 0, "text": "a", "finish_reason": "stop", **told}
    fake.scripted.append((200, {}, json.dumps({"choices": [choice], "usage": {"completion_tokens": 2}})))
    with engine(fake) as remote:
        [child] = ask(remote, expansion(1, stop=("\n", "##")))
        assert (child.text, child.stop) == ("a", "##")
        ask(remote, Expansion("0", (0,), Prompt("", appended=True), ((0, 0),), Sampling(1.0)))
    assert fake.requests[-1]["prompt"] == "xa##"
