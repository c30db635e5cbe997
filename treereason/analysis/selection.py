"""Which of the recorded thoughts a problem is answered with: the rules of the searches, applied again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from json import dumps
from typing import Literal, get_args

from treereason.analysis.recorded_problem import RecordedThought
from treereason.analysis.recorded_run import RecordedRun
from treereason.events import ThoughtPath

Vote = Literal["majority", "weighted", "best", "first"]
"""majority: the most frequent answer; weighted: by scores; best: the highest score; first: the first sample's answer.
Of equals the earliest, as in search/voting.py and core.Tree.best."""
VOTES: tuple[str, ...] = get_args(Vote)
Scoring = Callable[[RecordedThought], float | None]


def latest_score(thought: RecordedThought) -> float | None:
    """The score that the search saw last."""
    return thought.score


def vote_of(run: RecordedRun) -> Vote:
    """How the run's own search chooses among what it has: by votes where it asked no scorer, else the best scored."""
    if run.of_search("vote") == "weighted":
        return "weighted"
    return "best" if run.summary.get("guided_by") else "majority"


class Choice:
    """Takes thoughts that hold an answer, in any order, and knows which one to answer with among those so far."""

    def __init__(self, vote: str, score: Scoring = latest_score) -> None:
        self.chosen: RecordedThought | None = None
        self._vote = vote
        self._score = score
        self._votes: dict[str, float] = defaultdict(float)
        self._first: dict[str, RecordedThought] = {}
        self._value = 0.0

    def add(self, thought: RecordedThought) -> None:
        """Take one more thought."""
        if self._vote in ("majority", "weighted"):
            answer = dumps(thought.answer, sort_keys=True)
            self._votes[answer] += 1.0 if self._vote == "majority" else max(0.0, self._score(thought) or 0.0)
            thought = self._first[answer] = min(thought, self._first.get(answer, thought), key=_path)
            value = self._votes[answer]
        else:
            found = 0.0 if self._vote == "first" else self._score(thought)
            if found is None:
                return
            value = found
        if self.chosen is None or (-value, thought.path) <= (-self._value, self.chosen.path):
            self.chosen, self._value = thought, value


def select(thoughts: Iterable[RecordedThought], vote: str, score: Scoring = latest_score) -> RecordedThought | None:
    """The thought to answer with, of thoughts that hold an answer; None without one that counts."""
    choice = Choice(vote, score)
    for thought in thoughts:
        choice.add(thought)
    return choice.chosen


def _path(thought: RecordedThought) -> ThoughtPath:
    return thought.path
