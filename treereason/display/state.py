"""The state of a run, kept from events, and a snapshot of it for one frame."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from treereason.display.clean import one_line
from treereason.display.thoughts import ShownProblem
from treereason.display.viewport import Viewport, choose
from treereason.events import (
    Event,
    ProblemDone,
    ProblemStarted,
    RunStarted,
    StepDone,
    ThoughtDecoded,
    ThoughtFailed,
    ThoughtPruned,
)

WINDOW = 5.0
DWELL = 1.5


@dataclass(frozen=True)
class Snapshot:
    """All that one frame shows. Seconds, tokens and KV tokens."""

    started: RunStarted | None
    seconds: float
    done: int
    solved: int
    failed: int
    mean_score: float | None
    best_score: float | None
    problem: str
    problem_done: ProblemDone | None
    thoughts: int
    viewport: Viewport
    live: int
    waiting: int
    pruned: int
    failed_thoughts: int
    tokens_per_second: float
    kv_used: int
    kv_peak: int
    kv_capacity: int
    tokens_reused: int
    kv_read_ratio: float | None

    @property
    def total(self) -> int:
        return self.started.num_problems if self.started else 0

    @property
    def seconds_left(self) -> float | None:
        """By the pace so far; None before the first problem is done."""
        return self.seconds / self.done * (self.total - self.done) if self.done else None


@dataclass
class RunState:
    """Follows the events of one pass over the problems; times are seconds of any one clock.

    The tree on show stays until its problem is done and has been seen for DWELL seconds; then the problem that
    most recently got an event takes over.

    trees: of the problems in flight, the one that got the latest event last.
    """

    started: RunStarted | None = None
    start: float = 0.0
    trees: dict[str, ShownProblem] = field(default_factory=dict)
    current: ShownProblem | None = None
    since: float = 0.0
    done: list[ProblemDone] = field(default_factory=list)
    step: StepDone | None = None
    pruned: int = 0
    failed_thoughts: int = 0
    tokens_decoded: int = 0
    tokens_reused: int = 0
    read_tree: int = 0
    read_sequence: int = 0
    kv_peak: int = 0
    recent: deque[tuple[float, int]] = field(default_factory=deque)

    @classmethod
    def begin(cls, event: RunStarted, now: float) -> RunState:
        """A pass begins; the names that it shows are made safe."""
        task, search, model = (one_line(name, 60) for name in (event.task, event.search, event.model))
        return cls(replace(event, task=task, search=search, model=model), now)

    def apply(self, event: Event, now: float) -> None:
        match event:
            case StepDone():
                self._step(event, now)
            case ProblemStarted():
                self.trees[event.problem] = ShownProblem.start(event.problem, event.input)
            case _:
                self._problem_event(event, now)
        self._follow(now)

    def snapshot(self, now: float, height: int, max_depth: int = 12) -> Snapshot:
        """`height`: rows free for the tree; `max_depth`: levels that fit beside each other."""
        self._follow(now)
        scores = [done.score for done in self.done if done.score is not None]
        tree, step = self.current, self.step
        return Snapshot(
            started=self.started,
            seconds=now - self.start if self.started else 0.0,
            done=len(self.done),
            solved=sum(done.solved for done in self.done),
            failed=sum(done.status == "failed" for done in self.done),
            mean_score=sum(scores) / len(scores) if scores else None,
            best_score=max(scores, default=None),
            problem=tree.problem if tree else "",
            problem_done=tree.done if tree else None,
            thoughts=len(tree.nodes) - 1 if tree else 0,
            viewport=choose(tree, height, max_depth) if tree else Viewport(),
            live=step.num_branches if step else 0,
            waiting=step.num_waiting if step else 0,
            pruned=self.pruned,
            failed_thoughts=self.failed_thoughts,
            tokens_per_second=self._pace(now),
            kv_used=step.kv_tokens_used if step else 0,
            kv_peak=self.kv_peak,
            kv_capacity=step.kv_tokens_capacity if step else 0,
            tokens_reused=self.tokens_reused,
            kv_read_ratio=self.read_sequence / self.read_tree if self.read_tree else None,
        )

    def _step(self, event: StepDone, now: float) -> None:
        self.step = event
        self.tokens_decoded += event.tokens_decoded
        self.read_tree += event.kv_tokens_read_tree
        self.read_sequence += event.kv_tokens_read_sequence
        self.kv_peak = max(self.kv_peak, event.kv_tokens_peak)
        self.recent.append((now, event.tokens_decoded))
        while self.recent[0][0] < now - WINDOW:
            self.recent.popleft()

    def _problem_event(self, event: Event, now: float) -> None:
        problem = getattr(event, "problem", "")
        tree = self.trees.pop(problem, None)
        if tree is not None:
            tree.apply(event)
            self.trees[problem] = tree
            if self.current is None:
                self.current, self.since = tree, now
        if isinstance(event, ThoughtPruned):
            self.pruned += 1
        elif isinstance(event, ThoughtFailed):
            self.failed_thoughts += 1
        elif isinstance(event, ThoughtDecoded):
            self.tokens_reused += event.tokens_reused
        elif isinstance(event, ProblemDone):
            self.done.append(event)
            self.trees.pop(problem, None)

    def _follow(self, now: float) -> None:
        """Move on from a finished problem once it has been seen long enough."""
        seen = self.current is None or (self.current.done is not None and now - self.since >= DWELL)
        following = next(reversed(self.trees.values()), None)
        if seen and following is not None:
            self.current, self.since = following, now

    def _pace(self, now: float) -> float:
        """Tokens decoded a second, over the last WINDOW seconds."""
        tokens = sum(tokens for moment, tokens in self.recent if moment >= now - WINDOW)
        span = min(WINDOW, now - self.start)
        return tokens / span if span > 0 else 0.0
