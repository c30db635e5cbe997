"""Thoughts are scored in another process, in order, in batches, and each in its own time."""

import random
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.scoring.driving import collect, judge, place, thought_with
from treereason.core import Cost, Problem, Score, Status, Thought
from treereason.scoring import codec, process
from treereason.scoring.process import Scoring


def test_results_come_in_order_with_their_own_thoughts(scoring: Scoring) -> None:
    thoughts = [thought_with(str(i)) for i in range(1000)]
    assert [scoring.submit(thought) for thought in thoughts] == list(range(1000))
    results: list[tuple[Thought, Score | str]] = []
    while len(scoring):
        results += scoring.poll(1.0)
    assert all(a is b for a, (b, _) in zip(thoughts, results, strict=True))
    assert [score for _, score in results] == [Score(float(i)) for i in range(1000)]


def test_a_problem_that_is_stopped_gets_its_thoughts_back_at_once_and_the_others_are_scored(
    load: Callable[[str], Any],
) -> None:
    with Scoring("by_text", 600.0, load) as scoring:
        assert judge(scoring, "1") == [Score(1.0)]  # it has loaded
        mine = [Thought(Problem("mine", []), (i,), text=text) for i, text in enumerate(("hang", "hang", "3"))]
        for thought in (*mine, thought_with("4"), thought_with("5")):
            scoring.submit(thought)
        assert scoring.stop("mine", "stopped") == [(thought, "stopped") for thought in mine]
        assert collect(scoring) == [Score(4.0), Score(5.0)]
        assert scoring.stop("mine", "stopped") == []


def test_a_batch_scorer_with_a_batch_size_gets_no_longer_lists(load: Callable[[str], Any]) -> None:
    with Scoring("InPieces", 5.0, load) as scoring:
        assert judge(scoring, *"abcdefg") == [*[Score(3.0)] * 6, Score(1.0)]


def test_a_batch_scorer_gets_lists_and_one_bad_thought_costs_one_error(load: Callable[[str], Any]) -> None:
    with Scoring("in_batches", 5.0, load) as scoring:
        assert judge(scoring, "4", "4", "4") == [Score(3.0)] * 3
        assert judge(scoring, "4", "raise", "4")[1] == f"ValueError: bad batch{place('bad batch')}"
        assert judge(scoring, "4", "die", "4")[1] == "scorer ended its process with exit code 7"


def test_what_a_scorer_prints_goes_to_the_log(load: Callable[[str], Any], tmp_path: Path) -> None:
    with Scoring("by_text", 1.0, load, log=tmp_path / "scorer.log") as scoring:
        assert judge(scoring, "1") == [Score(1.0)]
    assert (tmp_path / "scorer.log").read_text() == "a scorer may print 1\n"


class SilentConnection:
    """No server answers, and waiting takes no time but that of a clock of its own."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.waits: list[float] = []

    def poll(self, wait_s: float) -> bool:
        self.waits.append(wait_s)
        self.now_s += wait_s
        return False

    def send(self, message: object) -> None:
        pass

    def close(self) -> None:
        pass


def test_polling_never_waits_longer_than_asked(load: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with Scoring("by_text", 1.0, load) as scoring:
        assert scoring.poll(600.0) == []
        judge(scoring, "1")
        silent = SilentConnection()
        monkeypatch.setattr(process, "time", SimpleNamespace(monotonic=lambda: silent.now_s))
        monkeypatch.setattr(scoring, "_connection", silent)
        scoring.submit(thought_with("2"))
        assert scoring.poll(0.0) == []
        assert set(silent.waits) == {0.0}
        assert scoring.poll(0.7) == []
        assert sum(silent.waits) == pytest.approx(0.7)
        assert [result for _, result in scoring.poll(0.7)] == ["scorer took longer than 1 s (scorer_timeout_s)"]
        assert 1.0 < silent.now_s < 1.1


def test_a_pause_between_polls_is_not_held_against_the_scorer(scoring: Scoring) -> None:
    assert judge(scoring, "1") == [Score(1.0)]
    for i in range(600):
        scoring.submit(thought_with(str(i)))
    time.sleep(1.5)
    assert collect(scoring) == [Score(float(i)) for i in range(600)]


def test_each_thought_has_the_whole_time_for_itself(scoring: Scoring) -> None:
    assert judge(scoring, *["nap"] * 6) == [Score(1.0)] * 6


def test_a_scorer_sees_the_thought_with_its_ancestors_and_only_a_copy(load: Callable[[str], Any]) -> None:
    problem = Problem("0", [])
    thought = Thought(problem)
    for i in range(3000):
        thought = Thought(problem, (*thought.path[:5], i), (thought,), "ab")
    with Scoring("chain", 5.0, load) as scoring:
        scoring.submit(thought)
        assert collect(scoring) == [Score(600_000 + len(thought.path) + 1 / 8)]
    with Scoring("mutate", 5.0, load) as scoring:
        scoring.submit(thought)
        scoring.submit(thought)
        assert collect(scoring) == [Score(1.0), Score(1.0)]
    assert problem.input == []
    assert thought.answer is None


def test_a_thought_is_scored_as_it_was_when_submitted(scoring: Scoring) -> None:
    thought = thought_with("1")
    scoring.submit(thought)
    thought.text = "2"
    assert collect(scoring) == [Score(1.0)]


def test_thoughts_survive_the_way_there() -> None:
    problem = Problem("7", {"a": [1]}, "t")
    root = Thought(problem)
    left = Thought(problem, (0,), (root,), "l", [1], Score(1.0, True), Status.KEPT, None, -1.5, 2, Cost(1, 2, 3))
    right = Thought(problem, (1,), (root,), "r", error="bad", status=Status.FAILED)
    joined = codec.load(codec.dump(Thought(problem, (0, 0), (left, right), "j")))
    assert [parent.path for parent in joined.parents] == [(0,), (1,)]
    assert joined.parents[0].parents[0] is joined.parents[1].parents[0]
    copy = joined.parents[0]
    assert vars(copy) | {"parents": ()} == vars(left) | {"parents": ()}
    assert joined.parents[1].status is Status.FAILED
    assert joined.problem == problem


def test_scoring_uses_no_global_randomness(scoring: Scoring) -> None:
    state = random.getstate()
    judge(scoring, "1")
    assert random.getstate() == state


def test_thoughts_travel_in_large_batches(scoring: Scoring, monkeypatch: pytest.MonkeyPatch) -> None:
    judge(scoring, "1")
    sent: list[int] = []

    def tell(message: Any) -> None:
        sent.append(len(message))
        whole(message)

    whole = scoring._tell
    monkeypatch.setattr(scoring, "_tell", tell)
    assert judge(scoring, *["1"] * 3000) == [Score(1.0)] * 3000
    assert sum(sent) == 3000
    # The first thought sets off alone; what waits behind it goes in full batches.
    assert len(sent) <= 2 + 3000 // process.LONGEST_BATCH + 1
