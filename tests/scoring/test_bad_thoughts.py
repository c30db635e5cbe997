"""What scorers return, and that one bad thought costs one error."""

import os
from collections.abc import Callable
from multiprocessing.connection import Pipe
from typing import Any

import pytest

from tests.scoring.driving import collect, judge, place, thought_with
from treereason.core import Score
from treereason.scoring.mailbox import Mailbox
from treereason.scoring.process import Scoring


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("1.5", Score(1.5)),
        ("int", Score(3.0)),
        ("bool", Score(1.0)),
        ("score", Score(2.0, final=True)),
        ("thread", Score(1.0)),
        ("read", Score(0.0)),
        ("torch", Score(0.0)),
        ("none", "scorer returned None, not a finite number"),
        ("nan", "scorer returned nan, not a finite number"),
        ("infinite", "scorer returned inf, not a finite number"),
        ("text", "scorer returned 'good', not a finite number"),
        ("list", "scorer returned [1], not a finite number"),
        ("complex", "scorer returned 1j, not a finite number"),
        ("bad score", "scorer returned Score(value=None, final=False), not a finite number"),
        ("unprintable", "scorer returned U, not a finite number"),
        ("raise", f"ValueError: two lines{place('two')}"),
        ("mute", f"RuntimeError{place('RuntimeError')}"),
        ("nasty", f"Nasty{place('Nasty')}"),
        ("exit", f"SystemExit: 3{place('sys.exit(3)')}"),
        ("interrupt", f"KeyboardInterrupt{place('KeyboardInterrupt')}"),
        ("die", "scorer ended its process with exit code 7"),
        ("crash", "scorer's process was killed by SIGSEGV"),
        ("orphans", "scorer ended its process with exit code 7"),
        ("hang", "scorer took longer than 1 s (scorer_timeout_s)"),
        ("spin", "scorer took longer than 1 s (scorer_timeout_s)"),
        ("regex", "scorer took longer than 1 s (scorer_timeout_s)"),
        ("stubborn", "scorer took longer than 1 s (scorer_timeout_s)"),
        ("junk", "scorer wrote into the connection over which it is asked"),
        ("promise", "scorer took longer than 1 s (scorer_timeout_s)"),
    ],
)
def test_one_bad_thought_costs_one_error(scoring: Scoring, text: str, result: Score | str) -> None:
    assert judge(scoring, "1", "2", text, "3", "4") == [Score(1.0), Score(2.0), result, Score(3.0), Score(4.0)]


def test_long_errors_are_cut(scoring: Scoring) -> None:
    huge, deep = judge(scoring, "huge", "recurse")
    assert isinstance(huge, str)
    assert huge.startswith("scorer returned 1000")
    assert len(huge) < 400
    assert isinstance(deep, str)
    assert deep.startswith("RecursionError: ")


def test_several_bad_thoughts_in_one_batch(scoring: Scoring) -> None:
    results = judge(scoring, "1", "die", "hang", "raise", "die", "2")
    assert results[0] == Score(1.0)
    assert results[5] == Score(2.0)
    assert [isinstance(result, str) for result in results[1:5]] == [True] * 4


def test_a_thought_that_does_not_pickle_fails_in_its_turn(scoring: Scoring) -> None:
    odd = thought_with("2")
    odd.answer = lambda: None
    scoring.submit(thought_with("1"))
    scoring.submit(odd)
    scoring.submit(thought_with("3"))
    first, second, third = collect(scoring)
    assert (first, third) == (Score(1.0), Score(3.0))
    assert isinstance(second, str)
    assert second.startswith("thought cannot be sent to the scorer: ")


def test_an_answer_that_the_scorers_process_cannot_rebuild(scoring: Scoring) -> None:
    odd = thought_with("2")
    odd.answer = Rebuilt()
    scoring.submit(odd)
    scoring.submit(thought_with("3"))
    first, second = collect(scoring)
    assert isinstance(first, str)
    assert first.startswith("ValueError: invalid literal")
    assert second == Score(3.0)


class Rebuilt:
    def __reduce__(self) -> tuple[type[int], tuple[str]]:
        return int, ("x",)


@pytest.mark.parametrize(
    ("ref", "error"),
    [
        ("missing", "scorer does not load: LookupError: no such scorer"),
        ("deadly", "scorer does not load: scorer ended its process with exit code 5"),
        ("number", "scorer does not load: TypeError: number cannot be called"),
    ],
)
def test_a_scorer_that_does_not_load_fails_every_thought(load: Callable[[str], Any], ref: str, error: str) -> None:
    with Scoring(ref, 1.0, load) as scoring:
        assert judge(scoring, "1", "2", "3") == [error] * 3
        assert judge(scoring, "4") == [error]


def test_a_scorer_that_hangs_while_it_loads(load: Callable[[str], Any]) -> None:
    with Scoring("slow", 1.0, load, load_timeout_s=0.5) as scoring:
        error = "scorer does not load: scorer took longer than 0.5 s (scorer_load_timeout_s)"
        assert judge(scoring, "1", "2") == [error] * 2


def test_a_class_is_made_once_and_its_loading_counts_against_no_thought(load: Callable[[str], Any]) -> None:
    with Scoring("Heavy", 0.5, load) as scoring:
        assert judge(scoring, *"abc") == [Score(1.0), Score(2.0), Score(3.0)]


def test_what_a_scorer_answered_before_it_wrote_junk_counts() -> None:
    mine, theirs = Pipe()
    with mine, theirs:
        mailbox = Mailbox(mine)
        theirs.send((1.0, False))
        os.write(theirs.fileno(), b"junk")
        answers = mailbox.take()
        assert next(answers) == (1.0, False)
        with pytest.raises(ValueError, match="a message of "):
            next(answers)
        mailbox.close()
