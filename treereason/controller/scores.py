"""The scores of one problem's thoughts: who gave them, and which of them the record counts."""

from __future__ import annotations

from collections.abc import Iterable

from treereason import events
from treereason.core import Basis, Score, Thought
from treereason.text import shown

BY_HAND = "search"
"""Who scored, where a search set `thought.score` itself."""


class Scores:
    """A search may be guided by scores of its own, while the record counts those of the run's scorer alone.

    guided_by: names of all that the search let itself be guided by, each with what its verdicts rest on.
    """

    def __init__(self, emit: events.Sink) -> None:
        self.guided_by: set[tuple[str, Basis]] = set()
        self._emit = emit
        self._known: dict[Thought, Score] = {}
        self._by_run: dict[Thought, Score] = {}

    @property
    def any_seen(self) -> bool:
        """Whether the search has seen any score yet."""
        return bool(self._known)

    def by_run(self, thought: Thought) -> Score | None:
        """What the run's scorer says of a thought, whatever the search itself scored it; None when it was not asked."""
        return self._by_run.get(thought)

    def enter_by_run(self, thought: Thought, score: Score) -> None:
        """Remember the verdict of the run's scorer for the record."""
        self._by_run[thought] = score

    def enter(self, thought: Thought, score: Score, by: str) -> None:
        """Give the thought its score, and tell of it."""
        thought.score = self._known[thought] = score
        self._emit(events.ThoughtScored(thought.problem.id, thought.path, score.value, score.final, by))

    def notice(self, thoughts: Iterable[Thought]) -> None:
        """Tell of scores that the search has set by hand. Raises ValueError for one that is not a number."""
        for thought in thoughts:
            score = thought.score
            if score is None or score is self._known.get(thought):
                continue
            score = score if isinstance(score, Score) else Score(score)
            if not isinstance(score.value, (int, float)):
                raise ValueError(f"{thought!r} has the score {shown(score.value)}: give a number or a Score")
            copied = any(score is known for known in self._known.values())
            self.guided_by.add((BY_HAND, Basis.DERIVED if copied else Basis.UNMARKED))
            self.enter(thought, score, BY_HAND)

    def forget(self, thought: Thought) -> None:
        """The thought's text has changed, so its score is void."""
        thought.score = None
        self._known.pop(thought, None)
        self._by_run.pop(thought, None)
