"""A server that refuses an optional field is asked again without it, and not asked for it any more."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.remote.driving import SEARCHES, ask, drain, engine, expansion, lines, run
from tests.remote.fake_server import FakeServer
from treereason.core import Decoded, Expansion, Finish, Prompt, Sampling
from treereason.remote.completions import request_seed
from treereason.remote.dialect import REFUSALS_LATE, TRIAL

STATUSES = (200, 400, 403, 404, 405, 406, 409, 415, 422, 500, 501, 502, 503)
OFTEN = (200, 400, 404, 500)
REFUSALS = [(status, "Only one completion choice is allowed") for status in STATUSES] + [(400, ""), (422, "[]")]


def real(fake: FakeServer) -> list[dict[str, Any]]:
    """The requests that were no trials."""
    return [request for request in fake.requests if request["prompt"] != TRIAL]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("treereason")]


@pytest.mark.parametrize(
    "refusal",
    [refusal if refusal[0] in OFTEN else pytest.param(refusal, marks=pytest.mark.slow) for refusal in REFUSALS],
    ids=str,
)
def test_a_server_that_refuses_several_choices_gets_a_request_per_child(
    fake: FakeServer, refusal: tuple[int, str], caplog: pytest.LogCaptureFixture
) -> None:
    fake.refuses, fake.refusal = lambda request: request.get("n", 1) > 1, refusal
    with engine(fake, max_retries=1, sleep=_no_pause) as remote:
        for problem in "012":
            decoded = ask(remote, expansion(3, problem=problem))
            seeds = [request_seed(0, problem, (rank,)) for rank in range(3)]
            assert [(child.text, child.error) for child in decoded] == [(f" {seed}", None) for seed in seeds]
    num_attempts = 2 if refusal[0] in REFUSALS_LATE else 1
    assert [request.get("n", 1) for request in real(fake)] == [3] * num_attempts + [1] * 9
    assert warnings(caplog) == [
        "the server refuses n: left out from now on, which costs: each child takes a request of its own"
    ]


@pytest.mark.parametrize(
    ("name", "costs"),
    [
        ("logprobs", "log-probabilities are unknown"),
        ("ignore_eos", "texts may end before their limit"),
        ("stop", "texts are cut at their stop strings only after they were decoded further"),
        ("top_p", "nothing, as it is 1"),
    ],
)
def test_any_optional_field_is_left_out_alone(
    fake: FakeServer, caplog: pytest.LogCaptureFixture, name: str, costs: str
) -> None:
    fake.refuses = lambda request: name in request
    with engine(fake) as remote:
        for problem in "01":
            [child] = ask(remote, expansion(1, "Spell: ab;cd\n", problem, stop=(";",), ignore_end=True))
            assert (child.text, child.stop, child.error) == ("ab", ";", None)
            assert child.logprob == {"logprobs": None}.get(name, -1.5)
    first, *others = real(fake)
    assert {"n", "seed", "logprobs", "ignore_eos", "stop", "top_p"} <= first.keys()
    assert [first.keys() - request.keys() for request in others] == [{name}, {name}]
    assert warnings(caplog) == [f"the server refuses {name}: left out from now on, which costs: {costs}"]


def test_top_k_and_min_p_are_sent_where_they_are_asked_for_and_never_left_out(
    fake: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    with engine(fake) as remote:
        ask(remote, replace(expansion(1), sampling=Sampling(0.7, 0.9, 20, 0.05)))
        ask(remote, expansion(1, problem="q"))
    asked, plain = real(fake)
    assert (asked["top_p"], asked["top_k"], asked["min_p"]) == (0.9, 20, 0.05)
    assert not {"top_k", "min_p"} & plain.keys()
    fake.refuses = lambda request: "top_k" in request
    with engine(fake) as remote:
        [child] = ask(remote, replace(expansion(1), sampling=Sampling(0.7, top_k=20)))
        [other] = ask(remote, expansion(1, problem="q"))
    assert child.error is not None
    assert "400" in child.error
    assert other.error is None
    assert warnings(caplog) == []


@pytest.mark.parametrize("body", [{"choices": []}, {"choices": None}, {"detail": "n"}, {"errors": ["n"]}], ids=str)
def test_an_answer_without_choices_is_a_refusal_where_a_field_is_the_cause(
    fake: FakeServer, body: dict[str, Any]
) -> None:
    usual = fake.answer
    fake.answer = lambda request: (200, body) if request.get("n", 1) > 1 else usual(request)  # type: ignore[method-assign]
    with engine(fake) as remote:
        assert [child.error for child in ask(remote, expansion(3))] == [None] * 3


def test_a_server_that_knows_the_newer_name_of_max_tokens_only_is_told_by_that(
    fake: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    fake.refuses = lambda request: "max_tokens" in request or request.get("n", 1) > 1
    with engine(fake) as remote:
        decoded = ask(remote, expansion(2, "Spell: abcdef\n", max_tokens=3))
    assert [(child.text, child.finish) for child in decoded] == [("abc", Finish.LENGTH)] * 2
    assert warnings(caplog) == [
        "the server refuses n and max_tokens: left out from now on, which costs: each child takes a request of its "
        "own; nothing, as max_completion_tokens says the same"
    ]


@pytest.mark.parametrize("trouble", [400, 500, 503])
def test_a_server_in_trouble_at_first_is_still_learned_later(fake: FakeServer, trouble: int) -> None:
    fake.always = trouble, '{"error": "loading"}'
    with engine(fake, max_retries=1, sleep=_no_pause) as remote:
        assert all(child.error for child in ask(remote, expansion(3)))
        fake.always = None
        fake.refuses = lambda request: request.get("n", 1) > 1
        assert [child.error for child in ask(remote, expansion(3, problem="1"))] == [None] * 3


def test_a_refused_seed_is_left_out(fake: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    fake.refuses = lambda request: "seed" in request
    with engine(fake) as remote:
        assert [child.error for child in ask(remote, expansion(2))] == [None, None]
    assert "texts do not repeat from run to run" in warnings(caplog)[0]


def test_several_refused_fields_are_found_and_no_other(fake: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    fake.refuses = lambda request: "logprobs" in request or "seed" in request
    with engine(fake) as remote:
        [child, _] = ask(remote, expansion(2, stop=(";",), ignore_end=True))
    assert (child.error, child.logprob) == (None, None)
    assert real(fake)[0].keys() - real(fake)[-1].keys() == {"logprobs", "seed"}
    assert warnings(caplog) == [
        "the server refuses logprobs and seed: left out from now on, which costs: "
        "log-probabilities are unknown; texts do not repeat from run to run"
    ]


def test_a_server_that_takes_four_stop_strings_gets_four(fake: FakeServer) -> None:
    fake.refuses = lambda request: len(request.get("stop", ())) > 4
    with engine(fake) as remote:
        [child] = ask(remote, expansion(1, "Spell: ab6cd3e\n", stop=("1", "2", "3", "4", "5", "6")))
    assert real(fake)[-1]["stop"] == ["1", "2", "3", "4"]
    assert (child.text, child.stop, child.logprob) == ("ab", "6", -1.5)
    assert child.cost.tokens_decoded == 6, "what was decoded too far was decoded all the same"


def test_a_server_with_a_limit_of_choices_still_gets_fewer_at_once(fake: FakeServer) -> None:
    fake.refuses = lambda request: request.get("n", 1) > 4
    wide, narrow = (5, "0"), (3, "1")
    results = []
    for order in itertools.permutations((wide, narrow)):
        with engine(fake) as remote:
            decoded = [child for k, problem in order for child in ask(remote, expansion(k, problem=problem))]
        results.append(sorted((child.problem, child.path, child.text) for child in decoded))
    assert results[0] == results[1]
    seed = request_seed(0, "1", (0,))
    assert [text for problem, _, text in results[0] if problem == "1"] == [f" {seed + rank}" for rank in range(3)]


@pytest.mark.parametrize("refused", ["n", "logprobs"])
def test_results_do_not_depend_on_which_answer_comes_first(fake: FakeServer, tmp_path: Path, refused: str) -> None:
    fake.refuses = lambda request: request.get("n", 1) > 1 if refused == "n" else refused in request
    run(fake, tmp_path / "a", *SEARCHES["sorting"], "model.concurrency=4")
    fake.delay = lambda request: request["seed"] % 7 / 500 if "seed" in request else 0.0
    run(fake, tmp_path / "b", *SEARCHES["sorting"], "model.concurrency=4")
    a, b = ((tmp_path / name / "results.jsonl").read_bytes() for name in "ab")
    assert a == b
    assert all(line["solved"] for line in lines(tmp_path / "a"))


@pytest.mark.parametrize("status", [400, 500])
def test_a_prompt_at_fault_is_no_refused_field(fake: FakeServer, status: int, caplog: pytest.LogCaptureFixture) -> None:
    fake.refuses, fake.refusal = lambda request: len(request["prompt"]) > 20, (status, "too long")
    with engine(fake, max_retries=0) as remote:
        for problem in "012":
            [child] = ask(remote, expansion(1, "x" * 30, problem))
            assert child.error == f"the server answered {status}: too long"
        assert ask(remote, expansion())[0].error is None
    assert [request["prompt"] for request in fake.requests].count(TRIAL) == 2, "once with optional fields, once without"
    assert warnings(caplog) == []


def test_a_server_in_trouble_keeps_its_fields(fake: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    failing = itertools.cycle([True, False])
    fake.refuses, fake.refusal = lambda _: next(failing), (500, "busy")
    with engine(fake, max_retries=4, sleep=_no_pause) as remote:
        remote.submit(expansion(2))
        decoded = drain(remote)
    assert [child.error for child in decoded] == [None, None]
    assert warnings(caplog) == []


async def _no_pause(_: float) -> None:
    pass


def test_a_greedy_child_whose_temperature_is_refused_fails_by_name(fake: FakeServer) -> None:
    fake.refuses, fake.refusal = lambda request: request["temperature"] == 0, (422, "temperature must be above 0")
    with engine(fake) as remote:
        [child] = ask(remote, Expansion("0", (), Prompt("x"), ((0,),), Sampling(0.0)))
    assert child.error == "the server answered 422: temperature must be above 0"


def equal(k: int, fake: FakeServer, temperature: float, times: int) -> list[Decoded]:
    fake.same_seed = True
    decoded = []
    with engine(fake) as remote:
        for problem in range(times):
            paths = tuple((rank,) for rank in range(k))
            decoded += ask(remote, Expansion(str(problem), (), Prompt("x"), paths, Sampling(temperature)))
    return decoded


@pytest.mark.parametrize(("k", "enough"), [(5, 1), (3, 2), (2, 4)])
def test_equal_texts_of_one_prompt_are_said_once(
    fake: FakeServer, caplog: pytest.LogCaptureFixture, k: int, enough: int
) -> None:
    equal(k, fake, 0.7, times=enough - 1)
    assert warnings(caplog) == []
    equal(k, fake, 0.7, times=7)
    assert warnings(caplog) == [
        "all texts for one prompt were equal at temperature 0.7: the server may ignore temperature or seeds"
    ]


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.7), (3, 0.0)])
def test_texts_that_must_be_equal_are_not_mentioned(
    fake: FakeServer, caplog: pytest.LogCaptureFixture, k: int, temperature: float
) -> None:
    equal(k, fake, temperature, times=7)
    assert warnings(caplog) == []
