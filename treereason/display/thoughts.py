"""The thoughts of one problem as the events tell of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from treereason.core import Status
from treereason.display.clean import one_line
from treereason.events import (
    Event,
    ProblemDone,
    ThoughtCreated,
    ThoughtDecoded,
    ThoughtFailed,
    ThoughtKept,
    ThoughtPath,
    ThoughtPruned,
    ThoughtScored,
)
from treereason.jsonable import jsonable


@dataclass(slots=True)
class ShownThought:
    """One thought. `text` and `error` are one line and safe to show.

    children: direct ones; decoding: how many of them are being decoded.
    """

    path: ThoughtPath
    text: str = ""
    status: Status = Status.DECODING
    score: float | None = None
    error: str = ""
    num_parents: int = 1
    children: list[ThoughtPath] = field(default_factory=list)
    decoding: int = 0


@dataclass
class ShownProblem:
    """Thoughts by path, and by status in the order in which they got it (the latest last).

    probes: those being decoded. They ask about a thought and are none themselves, unless they fail, which is shown.
    """

    problem: str
    root: ShownThought
    nodes: dict[ThoughtPath, ShownThought] = field(default_factory=dict)
    by_status: dict[Status, dict[ThoughtPath, ShownThought]] = field(default_factory=lambda: {s: {} for s in Status})
    probes: set[ThoughtPath] = field(default_factory=set)
    done: ProblemDone | None = None

    @classmethod
    def start(cls, problem: str, problem_input: object) -> ShownProblem:
        text = problem_input if isinstance(problem_input, str) else str(jsonable(problem_input))
        root = ShownThought((), one_line(text), Status.KEPT)
        return cls(one_line(problem, 40), root, {(): root})

    def apply(self, event: Event) -> None:
        """Follow one event of this problem."""
        match event:
            case ThoughtCreated(probe=True):
                self.probes.add(event.thought)
            case ThoughtCreated():
                self._node(event.thought).num_parents = len(event.parents)
            case ThoughtDecoded() if event.thought in self.probes:
                self.probes.remove(event.thought)
            case ThoughtDecoded():
                node = self._set(event.thought, Status.DECODED)
                node.text = one_line(event.text) or one_line("" if event.answer is None else str(event.answer))
            case ThoughtScored():
                self._node(event.thought).score = event.score
            case ThoughtKept():
                self._set(event.thought, Status.KEPT)
            case ThoughtPruned():
                self._set(event.thought, Status.PRUNED)
            case ThoughtFailed():
                self.probes.discard(event.thought)
                self._set(event.thought, Status.FAILED).error = one_line(event.error)
            case ProblemDone():
                self.done = event

    def counts(self) -> Counter[Status]:
        return Counter({status: len(nodes) for status, nodes in self.by_status.items()})

    def best(self) -> ShownThought | None:
        """The answer once the problem is done; before that the deepest kept thought, of these the best scored."""
        if self.done is not None and self.done.best in self.nodes:
            return self.nodes[self.done.best]
        kept, decoded = self.by_status[Status.KEPT], self.by_status[Status.DECODED]
        candidates = kept.values() or [node for node in decoded.values() if node.score is not None]
        return max(candidates, key=_rank, default=None)

    def _set(self, path: ThoughtPath, status: Status) -> ShownThought:
        node = self._node(path)
        if path:
            self.by_status[node.status].pop(path, None)
            self.by_status[status][path] = node
            parent = self.nodes[path[:-1]]
            parent.decoding += (status is Status.DECODING) - (node.status is Status.DECODING)
            node.status = status
        return node

    def _node(self, path: ThoughtPath) -> ShownThought:
        node = self.nodes.get(path)
        if node is None:
            node = self.nodes[path] = ShownThought(path)
            self.by_status[Status.DECODING][path] = node
            parent = self._node(path[:-1])
            parent.children.append(path)
            parent.decoding += 1
        return node


def _rank(node: ShownThought) -> tuple[int, float]:
    return len(node.path), float("-inf") if node.score is None else node.score
