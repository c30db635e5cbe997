"""The thoughts of one problem, as the events tell of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from treereason.core import Status
from treereason.display import formatting
from treereason.events import (
    Event,
    ProblemDone,
    ThoughtCreated,
    ThoughtDecoded,
    ThoughtFailed,
    ThoughtKept,
    ThoughtPath,
    ThoughtPruned,
    ThoughtResumed,
    ThoughtScored,
)
from treereason.jsonable import jsonable
from treereason.text import printable


@dataclass(slots=True)
class ShownThought:
    """One thought. `text`, `seen` and `error` are one line each and safe to show.

    children: direct ones; num_decoding: how many of them are being decoded.
    """

    path: ThoughtPath
    text: str = ""
    status: Status = Status.DECODING
    score: float | None = None
    error: str = ""
    num_parents: int = 1
    children: list[ThoughtPath] = field(default_factory=list)
    num_decoding: int = 0
    seen: tuple[str, ...] = ()


@dataclass
class ShownProblem:
    """Thoughts by path, and by status in the order in which they got it (the latest last).

    name: one line and safe to show. The root thought, path (), holds the problem's input and is in no status.
    probes: those being decoded. They ask about a thought and are not shown, unless they fail.
    """

    name: str
    thoughts: dict[ThoughtPath, ShownThought]
    by_status: dict[Status, dict[ThoughtPath, ShownThought]] = field(default_factory=lambda: {s: {} for s in Status})
    probes: set[ThoughtPath] = field(default_factory=set)
    done: ProblemDone | None = None

    @classmethod
    def start(cls, name: str, problem_input: object) -> ShownProblem:
        text = problem_input if isinstance(problem_input, str) else str(jsonable(problem_input))
        return cls(printable(name, 40), {(): ShownThought((), printable(text), Status.KEPT)})

    def apply(self, event: Event) -> None:
        """Follow one event of this problem."""
        match event:
            case ThoughtCreated(probe=True):
                self.probes.add(event.thought)
            case ThoughtCreated():
                self._thought(event.thought).num_parents = len(event.parents)
            case ThoughtDecoded() if event.thought in self.probes:
                self.probes.remove(event.thought)
            case ThoughtDecoded():
                thought = self._set(event.thought, Status.DECODED)
                thought.seen = tuple(printable(piece) for piece in event.seen)
                thought.text = printable(event.text) or (
                    "" if event.answer is None else formatting.answer(event.answer)
                )
            case ThoughtResumed():
                self._set(event.thought, Status.DECODING)
            case ThoughtScored():
                self._thought(event.thought).score = event.score
            case ThoughtKept():
                self._set(event.thought, Status.KEPT)
            case ThoughtPruned():
                self._set(event.thought, Status.PRUNED)
            case ThoughtFailed():
                self.probes.discard(event.thought)
                self._set(event.thought, Status.FAILED).error = printable(event.error)
            case ProblemDone():
                self.done = event

    def best(self) -> ShownThought | None:
        """The answer once the problem is done; before that the deepest kept thought, of these the best scored."""
        if self.done is not None and self.done.best in self.thoughts:
            return self.thoughts[self.done.best]
        kept, decoded = self.by_status[Status.KEPT], self.by_status[Status.DECODED]
        candidates = kept.values() or [thought for thought in decoded.values() if thought.score is not None]
        return max(candidates, key=_rank, default=None)

    def _set(self, path: ThoughtPath, status: Status) -> ShownThought:
        thought = self._thought(path)
        if path:
            self.by_status[thought.status].pop(path, None)
            self.by_status[status][path] = thought
            parent = self.thoughts[path[:-1]]
            parent.num_decoding += (status is Status.DECODING) - (thought.status is Status.DECODING)
            thought.status = status
        return thought

    def _thought(self, path: ThoughtPath) -> ShownThought:
        thought = self.thoughts.get(path)
        if thought is None:
            thought = self.thoughts[path] = ShownThought(path)
            self.by_status[Status.DECODING][path] = thought
            parent = self._thought(path[:-1])
            parent.children.append(path)
            parent.num_decoding += 1
        return thought


def _rank(thought: ShownThought) -> tuple[int, float]:
    return len(thought.path), float("-inf") if thought.score is None else thought.score
