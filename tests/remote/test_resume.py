"""Thoughts that ended at their token limit go on in place."""

from __future__ import annotations

import pytest

from tests.remote.driving import ask, drain, engine, expansion
from tests.remote.fake_server import HANG_S, FakeServer
from treereason.core import Cost, Decoded, Expansion, Finish, Prompt, Resumption, Sampling, Writing
from treereason.remote.engine import RemoteEngine

SPELL = "Spell: abcdefgh;ijk\n"


def resumption(tokens: int, *stops: str, problem: str = "0") -> Resumption:
    return Resumption(problem, (0,), Prompt(SPELL, stop=stops, max_tokens=tokens), Sampling(1.0))


def begun(remote: RemoteEngine, *stops: str) -> Decoded:
    """The first three letters of the thought that the tests resume."""
    [thought] = ask(remote, expansion(1, SPELL, stop=stops, max_tokens=3))
    assert (thought.text, thought.finish) == ("abc", Finish.LENGTH)
    return thought


def test_text_and_logprob_are_the_whole_thoughts_and_the_cost_this_requests_alone(fake: FakeServer) -> None:
    with engine(fake) as remote:
        begun(remote)
        [thought] = ask(remote, resumption(2))
    assert fake.requests[1]["prompt"] == SPELL + "abc"
    assert (thought.text, thought.finish, thought.error) == ("abcde", Finish.LENGTH, None)
    assert thought.logprob == -0.5 * 5
    assert thought.cost == Cost(tokens_prefilled=len(SPELL) + 3, tokens_decoded=2)


def test_it_goes_on_until_the_model_ends_it(fake: FakeServer) -> None:
    with engine(fake) as remote:
        begun(remote)
        pieces = [ask(remote, resumption(4))[0] for _ in range(3)]
    assert [piece.text for piece in pieces] == ["abcdefg", "abcdefgh;ij", "abcdefgh;ijk"]
    assert [piece.finish for piece in pieces] == [Finish.LENGTH, Finish.LENGTH, Finish.END]


@pytest.mark.parametrize("stop", [";", "cd"])
def test_a_stop_string_ends_it_even_when_it_spans_two_requests(fake: FakeServer, stop: str) -> None:
    with engine(fake) as remote:
        begun(remote, stop)
        [thought] = ask(remote, resumption(20, stop))
    assert (thought.text, thought.stop, thought.finish) == (SPELL[7:].partition(stop)[0], stop, Finish.STOP)


def test_each_piece_is_drawn_by_numbers_of_its_own(fake: FakeServer) -> None:
    with engine(fake) as remote:
        begun(remote)
        ask(remote, resumption(2))
        ask(remote, resumption(2))
    assert len({request["seed"] for request in fake.requests}) == 3


def test_a_resumption_that_adds_nothing_needs_no_count(fake: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING")  # runs of the command line in this process have set INFO
    with engine(fake) as remote:
        begun(remote)
        fake.scripted.append((200, {}, '{"choices": [{"text": "", "finish_reason": "stop"}]}'))
        [thought] = ask(remote, resumption(2))
    assert (thought.text, thought.finish, thought.cost.tokens_decoded) == ("abc", Finish.END, 0)
    assert not caplog.records


def test_what_comes_behind_a_resumed_thought_sees_all_of_it(fake: FakeServer) -> None:
    with engine(fake) as remote:
        begun(remote)
        ask(remote, resumption(2))
        ask(remote, Expansion("0", (0,), Prompt("!", appended=True), ((0, 0),), Sampling()))
    assert fake.requests[-1]["prompt"] == SPELL + "abcde!"


def test_a_dropped_thought_can_be_resumed_and_continued(fake: FakeServer) -> None:
    with engine(fake) as remote:
        begun(remote)
        remote.drop("0", (0,))
        remote.drop("0", (7, 7))
        assert ask(remote, resumption(2))[0].text == "abcde"
        remote.drop("0", (0,))
        [child] = ask(remote, Expansion("0", (0,), Prompt("", appended=True, max_tokens=2), ((0, 0),), Sampling()))
    assert child.text == "fg"


def test_a_thought_that_the_model_ended_is_not_resumed(fake: FakeServer) -> None:
    with engine(fake) as remote:
        ask(remote, expansion(1, "Spell: abc\n"))
        [thought] = ask(remote, resumption(2))
    assert thought.error is not None
    assert thought.error.endswith("can be resumed; what ended this one: end")
    assert (thought.text, thought.logprob, thought.finish) == ("abc", -1.5, None)
    assert len(fake.requests) == 1


def test_neither_a_given_nor_a_stopped_nor_an_unknown_thought_is_resumed(fake: FakeServer) -> None:
    with engine(fake) as remote:
        [unknown] = ask(remote, resumption(2))
        ask(remote, Writing("0", (), Prompt("a"), ((0,),), ("b",)))
        [given] = ask(remote, resumption(2))
        ask(remote, expansion(1, "Spell: a;b\n", stop=(";",)))
        [stopped] = ask(remote, resumption(2, ";"))
    assert "without text" in str(unknown.error)
    assert str(given.error).endswith("what ended this one: given")
    assert str(stopped.error).endswith("what ended this one: stop")


def test_a_resumption_that_fails_keeps_the_text_and_can_be_tried_again(fake: FakeServer) -> None:
    with engine(fake, max_retries=0) as remote:
        begun(remote)
        fake.scripted.append((503, {}, "later"))
        [failed] = ask(remote, resumption(2))
        [thought] = ask(remote, resumption(2))
    assert (failed.text, failed.logprob, failed.finish) == ("abc", -1.5, None)
    assert failed.error == "the server answered 503: later"
    assert thought.text == "abcde"


def test_a_resumption_that_is_stopped_keeps_the_text(fake: FakeServer) -> None:
    with engine(fake) as remote:
        begun(remote)
        fake.delay = lambda _: HANG_S
        remote.submit(resumption(2))
        fake.wait_until(lambda fake: len(fake.requests) == 2)
        remote.stop("0", "out of time")
        [stopped] = drain(remote)
    assert (stopped.text, stopped.error) == ("abc", "out of time")


def test_a_thought_with_one_unknown_piece_has_no_logprob(fake: FakeServer) -> None:
    with engine(fake) as remote:
        begun(remote)
        fake.logprobs = False
        [thought] = ask(remote, resumption(2))
    assert (thought.text, thought.logprob, thought.error) == ("abcde", None, None)
