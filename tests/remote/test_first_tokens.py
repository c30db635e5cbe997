"""Given texts of one token on a chat endpoint: how likely they are, by the likeliest tokens that it tells."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.remote.driving import ask, expansion, lines, run
from tests.remote.fake_server import FakeServer, token_logprob
from treereason.core import Decoded, Finish, Prompt, Writing
from treereason.remote.answer import read_first_tokens
from treereason.remote.engine import RemoteEngine
from treereason.remote.errors import RequestFailed
from treereason.remote.first_tokens import logprobs_of
from treereason.remote.logprobs import TokenLogprob
from treereason.remote.server import Server


def engine(fake: FakeServer) -> RemoteEngine:
    return RemoteEngine(Server("fake", fake.url, style="chat", endpoint="chat", max_retries=0), seed=0)


def written(remote: RemoteEngine, *texts: str, parent: tuple[int, ...] = (), **prompt: Any) -> list[Decoded]:
    children = tuple((*parent, rank) for rank in range(len(texts)))
    return ask(remote, Writing("0", parent, Prompt("so?", **prompt), children, texts))


def test_a_text_of_one_token_is_worth_what_the_chat_endpoint_tells_of_it(fake: FakeServer) -> None:
    with engine(fake) as remote:
        answers = written(remote, " yes", " no", "")
    told_by_server = [token_logprob("so?", " yes"), token_logprob("so?", " no"), 0.0]
    assert [each.logprob for each in answers] == pytest.approx(told_by_server)
    assert [(each.finish, each.error, each.num_tokens) for each in answers] == [
        (Finish.GIVEN, None, 1),
        (Finish.GIVEN, None, 1),
        (Finish.GIVEN, None, 0),
    ]
    assert [each.cost.tokens_prefilled for each in answers] == [3, 0, 0]
    assert [request["top_logprobs"] for request in fake.requests] == [20, 20], "a trial, and one for all texts"


def test_a_question_behind_a_thought_is_the_users_next_message(fake: FakeServer) -> None:
    fake.continues = ""
    with engine(fake) as remote:
        ask(remote, expansion(1, "Spell: ab;cd\n", stop=(";",)))
        [yes, no] = written(remote, " yes", " no", parent=(0,), appended=True)
    assert fake.requests[-1]["messages"] == [
        {"role": "user", "content": "Spell: ab;cd\n"},
        {"role": "assistant", "content": "ab;"},
        {"role": "user", "content": "so?"},
    ]
    above = "Spell: ab;cd\nab;so?"
    assert [yes.logprob, no.logprob] == pytest.approx([token_logprob(above, " yes"), token_logprob(above, " no")])


def test_a_server_that_tells_fewer_tokens_is_asked_for_fewer(fake: FakeServer) -> None:
    fake.most_told = 5
    with engine(fake) as remote:
        [yes] = written(remote, " yes")
    assert yes.logprob == pytest.approx(token_logprob("so?", " yes"))
    assert fake.requests[-1]["top_logprobs"] == 5


@pytest.mark.parametrize("most_told", [0, 1])
def test_a_server_that_tells_no_likeliest_tokens_is_asked_once_and_named(fake: FakeServer, most_told: int) -> None:
    fake.most_told = most_told
    with engine(fake) as remote:
        first = written(remote, " yes", " no")
        num_asked = len(fake.requests)
        again = written(remote, " yes")
        assert len(fake.requests) == num_asked
        assert ask(remote, expansion())[0].error is None
    reason = (
        "the server answered 400: top_logprobs must be at most 1"
        if most_told
        else ("the server's answer has no top_logprobs")
    )
    assert {each.error for each in first + again} == {
        f"model.url={fake.url}: the chat endpoint does not tell its likeliest tokens (top_logprobs), so write() is not "
        f"possible: {reason}; vLLM and llama.cpp do, or give model.endpoint=completions, where vLLM and SGLang have "
        "them"
    }


def test_texts_that_cannot_be_measured_by_one_token_are_named(fake: FakeServer) -> None:
    with engine(fake) as remote:
        several, nowhere = written(remote, " yes", " yes, it is"), written(remote, "A", "B")
    for answers, named in ((several, "' yes, it is'"), (nowhere, "'A', 'B'")):
        assert {each.error for each in answers} == {
            f"write(): how likely {named} is does not show among the 4 likeliest first tokens, and a chat endpoint "
            "tells no more: give model.endpoint=completions, where vLLM and SGLang have them"
        }


def told(**shares: float) -> list[TokenLogprob]:
    return [TokenLogprob(token.replace("_", " "), math.log(share)) for token, share in shares.items()]


def shares_of(*texts: str, **shares: float) -> list[float]:
    return [math.exp(logprob) for logprob in logprobs_of(texts, told(**shares))]


def test_spellings_of_a_text_count_together_unless_that_confuses_two() -> None:
    assert shares_of(" yes", " no", Yes=0.5, no=0.2, _yes=0.1, NO=0.05, It=0.01) == pytest.approx([0.6, 0.25])
    assert shares_of("us", "US", us=0.5, US=0.2, It=0.1) == pytest.approx([0.5, 0.2])


def test_a_text_that_is_not_told_counts_as_likely_as_it_may_be() -> None:
    assert shares_of(" yes", " no", Yes=0.9, N=0.02, The=0.01) == pytest.approx([0.9, 0.03])
    beyond = [TokenLogprob("yes", -0.1), TokenLogprob("It", -9999.0)]
    assert logprobs_of(("yes", "no"), beyond) == pytest.approx([-0.1, math.log(sys.float_info.min)])
    with pytest.raises(RequestFailed, match="how likely ' no' is does not show among the 2 likeliest"):
        shares_of(" yes", " no", N=0.5, Yes=0.4)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {},
        {"choices": []},
        {"choices": [3]},
        {"choices": [{"logprobs": {"content": []}}]},
        {"choices": [{"logprobs": {"content": [{"top_logprobs": [{"token": "a"}, {"logprob": -1.0}, 3]}]}}]},
    ],
)
def test_what_tells_no_likeliest_tokens(answer: Any) -> None:
    with pytest.raises(RequestFailed, match="has no top_logprobs"):
        read_first_tokens(answer)


def test_the_model_judges_on_a_chat_endpoint(fake: FakeServer, tmp_path: Path) -> None:
    options = ["model.endpoint=chat", "task=few_shot", "search=best_of_n", "search.n=2", "baseline=none"]
    summary = run(fake, tmp_path, *options, "scorer=judge_yes_no")
    assert (summary["failed"], summary["thoughts_failed"], summary["guided_by"]) == (0, 0, ["judge_yes_no"])
    assert all(0 < line["score"] < 1 for line in lines(tmp_path))


def test_options_are_ranked_on_a_chat_endpoint(fake: FakeServer, tmp_path: Path) -> None:
    fake.likely = ("A", "B", "C", "D", "The")
    summary = run(fake, tmp_path, "model.endpoint=chat", "task=choices", "search=choose", "baseline=none")
    assert (summary["failed"], summary["thoughts_failed"], summary["tokens_decoded"]) == (0, 0, 0)
    assert {line["answer"] for line in lines(tmp_path)} <= set("ABCD")
