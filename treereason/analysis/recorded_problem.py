"""One problem of a recorded run: its thoughts, in the order in which they were decoded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from treereason.core import Status
from treereason.events import (
    Event,
    ProblemDone,
    ThoughtCreated,
    ThoughtDecoded,
    ThoughtEvaluated,
    ThoughtFailed,
    ThoughtKept,
    ThoughtPath,
    ThoughtPruned,
    ThoughtResumed,
    ThoughtScored,
)


@dataclass(slots=True)
class RecordedThought:
    """A thought as the journal tells of it.

    scores: (value, final) by the scorer's name, the latest last; "" where the journal does not tell the name.
    evaluation: what the run's scorer said for the record alone, where the search had scored it by another.
    spent: tokens that the problem had decoded once this text was complete, those of probes and judges included.
    tokens_decoded, tokens_prefilled, tokens_reused: of all its pieces, when it was resumed.
    stop, num_tokens, statistics: as in core.Thought, where the journal tells them; statistics are rows of entropy,
    self-certainty and confidence.
    """

    path: ThoughtPath
    parents: tuple[ThoughtPath, ...] = ()
    probe: bool = False
    text: str = ""
    answer: Any = None
    logprob: float | None = None
    finish: str = ""
    status: Status = Status.DECODING
    error: str = ""
    scores: dict[str, tuple[float, bool]] = field(default_factory=dict)
    evaluation: float | None = None
    spent: int = 0
    tokens_decoded: int = 0
    tokens_prefilled: int = 0
    tokens_reused: int = 0
    stop: str = ""
    num_tokens: int = 0
    statistics: list[list[float]] | None = None

    def score_by(self, scorer: str) -> float | None:
        """What the run's scorer, of that name, said of it."""
        return self.scores[scorer][0] if scorer in self.scores else self.evaluation

    @property
    def score(self) -> float | None:
        """The latest score, None without one."""
        return next(reversed(self.scores.values()))[0] if self.scores else None


@dataclass
class RecordedProblem:
    """thoughts: by path, in the order in which they were created. tokens: decoded for the problem so far."""

    name: str
    input: Any
    thoughts: dict[ThoughtPath, RecordedThought] = field(default_factory=dict)
    done: ProblemDone | None = None
    tokens: int = 0

    @property
    def answered(self) -> list[RecordedThought]:
        """Whole thoughts that hold an answer, by path."""
        found = [t for t in self.thoughts.values() if t.answer is not None and not t.probe and not t.error]
        return sorted(found, key=lambda thought: thought.path)

    def apply(self, event: Event) -> None:
        """Follow one event of this problem."""
        match event:
            case ThoughtCreated():
                thought = self._thought(event.thought)
                thought.parents, thought.probe = event.parents, event.probe
            case ThoughtDecoded():
                thought = self._thought(event.thought)
                self.tokens += event.tokens_decoded
                thought.text, thought.answer, thought.logprob = str(event.text), event.answer, event.logprob
                thought.finish, thought.spent = event.finish, self.tokens
                thought.tokens_decoded += event.tokens_decoded
                thought.tokens_prefilled += event.tokens_prefilled
                thought.tokens_reused += event.tokens_reused
                thought.scores.clear()  # a text that was resumed is another one
                thought.evaluation = None
                thought.status = Status.DECODED
                thought.stop = event.stop
                thought.num_tokens = event.num_tokens or thought.tokens_decoded
                if piece := event.token_statistics:
                    thought.statistics = [*(thought.statistics or []), *map(list, piece)]
            case ThoughtResumed():
                self._thought(event.thought).status = Status.DECODING
            case ThoughtScored():
                scores = self._thought(event.thought).scores
                scores.pop(event.by, None)
                scores[event.by] = event.score, event.final
            case ThoughtKept():
                self._thought(event.thought).status = Status.KEPT
            case ThoughtPruned():
                self._thought(event.thought).status = Status.PRUNED
            case ThoughtFailed():
                thought = self._thought(event.thought)
                thought.status, thought.error = Status.FAILED, str(event.error)
            case ProblemDone():
                self.done = event
            case ThoughtEvaluated():
                self._thought(event.thought).evaluation = event.score

    def _thought(self, path: ThoughtPath) -> RecordedThought:
        return self.thoughts.setdefault(path, RecordedThought(path))
