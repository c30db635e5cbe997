"""The state of a run, kept from events, and a snapshot of it for one frame."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

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
from treereason.text import printable

WINDOW_S = 5.0
DWELL_S = 1.5


@dataclass(frozen=True)
class Snapshot:
    """All that one frame shows of one pass over the problems.

    problem, problem_done, num_thoughts, viewport: of the problem on show; `problem` is "" before there is one.
    num_live, num_waiting: branches in the last engine step, and those that wait for a place in one.
    num_pruned, num_thoughts_failed, tokens_reused: of all problems so far.
    kv_read_ratio: KV tokens that branches on their own would have read, per KV token that was read.
    """

    started: RunStarted | None
    seconds: float
    num_done: int
    num_solved: int
    num_failed: int
    mean_score: float | None
    best_score: float | None
    problem: str
    problem_done: ProblemDone | None
    num_thoughts: int
    viewport: Viewport
    num_live: int
    num_waiting: int
    num_pruned: int
    num_thoughts_failed: int
    tokens_per_second: float
    kv_tokens_used: int
    kv_tokens_peak: int
    kv_tokens_capacity: int
    tokens_reused: int
    kv_read_ratio: float | None

    @property
    def num_problems(self) -> int:
        return self.started.num_problems if self.started else 0

    @property
    def seconds_left(self) -> float | None:
        """By the pace so far; None before the first problem is done."""
        return self.seconds / self.num_done * (self.num_problems - self.num_done) if self.num_done else None


@dataclass
class RunState:
    """Follows the events of one pass over the problems; times are seconds of any one clock.

    The problem on show stays until it is done and has been seen for DWELL_S seconds; then the problem that most
    recently got an event takes its place.

    in_flight: problems by name, the one that got the latest event last.
    steps: (time, tokens decoded) of the engine steps in the last WINDOW_S seconds.
    """

    started: RunStarted | None = None
    start: float = 0.0
    in_flight: dict[str, ShownProblem] = field(default_factory=dict)
    on_show: ShownProblem | None = None
    on_show_since: float = 0.0
    done: list[ProblemDone] = field(default_factory=list)
    last_step: StepDone | None = None
    num_pruned: int = 0
    num_thoughts_failed: int = 0
    tokens_reused: int = 0
    kv_tokens_read_tree: int = 0
    kv_tokens_read_sequence: int = 0
    kv_tokens_peak: int = 0
    steps: deque[tuple[float, int]] = field(default_factory=deque)

    def apply(self, event: Event, now: float) -> RunState:
        """Follow one event. Returns the state to go on with: this one, or a new one when a pass begins."""
        if isinstance(event, RunStarted):
            task, search, model = (printable(name, 60) for name in (event.task, event.search, event.model))
            return RunState(replace(event, task=task, search=search, model=model), start=now)
        if isinstance(event, StepDone):
            self._step(event, now)
        elif isinstance(event, ProblemStarted):
            self.in_flight[event.problem] = ShownProblem.start(event.problem, event.input)
        else:
            self._problem_event(event, now)
        self._move_on(now)
        return self

    def snapshot(self, now: float, height: int, max_depth: int = 12) -> Snapshot:
        """`height`: rows free for thoughts; `max_depth`: levels that fit beside each other."""
        self._move_on(now)
        scores = [done.score for done in self.done if done.score is not None]
        shown, step = self.on_show, self.last_step
        read = self.kv_tokens_read_tree
        return Snapshot(
            started=self.started,
            seconds=now - self.start if self.started else 0.0,
            num_done=len(self.done),
            num_solved=sum(done.solved for done in self.done),
            num_failed=sum(done.status == "failed" for done in self.done),
            mean_score=sum(scores) / len(scores) if scores else None,
            best_score=max(scores, default=None),
            problem=shown.name if shown else "",
            problem_done=shown.done if shown else None,
            num_thoughts=len(shown.thoughts) - 1 if shown else 0,
            viewport=choose(shown, height, max_depth) if shown else Viewport(),
            num_live=step.num_branches if step else 0,
            num_waiting=step.num_waiting if step else 0,
            num_pruned=self.num_pruned,
            num_thoughts_failed=self.num_thoughts_failed,
            tokens_per_second=self._tokens_per_second(now),
            kv_tokens_used=step.kv_tokens_used if step else 0,
            kv_tokens_peak=self.kv_tokens_peak,
            kv_tokens_capacity=step.kv_tokens_capacity if step else 0,
            tokens_reused=self.tokens_reused,
            kv_read_ratio=self.kv_tokens_read_sequence / read if read else None,
        )

    def _step(self, event: StepDone, now: float) -> None:
        self.last_step = event
        self.kv_tokens_read_tree += event.kv_tokens_read_tree
        self.kv_tokens_read_sequence += event.kv_tokens_read_sequence
        self.kv_tokens_peak = max(self.kv_tokens_peak, event.kv_tokens_peak)
        self.steps.append((now, event.tokens_decoded))
        while self.steps[0][0] < now - WINDOW_S:
            self.steps.popleft()

    def _problem_event(self, event: Event, now: float) -> None:
        name = getattr(event, "problem", "")
        problem = self.in_flight.pop(name, None)
        if problem is not None:
            problem.apply(event)
            self.in_flight[name] = problem
            if self.on_show is None:
                self.on_show, self.on_show_since = problem, now
        if isinstance(event, ThoughtPruned):
            self.num_pruned += 1
        elif isinstance(event, ThoughtFailed):
            self.num_thoughts_failed += 1
        elif isinstance(event, ThoughtDecoded):
            self.tokens_reused += event.tokens_reused
        elif isinstance(event, ProblemDone):
            self.done.append(event)
            self.in_flight.pop(name, None)

    def _move_on(self, now: float) -> None:
        """Show another problem once the one on show is done and has been seen long enough."""
        seen = self.on_show is None or (self.on_show.done is not None and now - self.on_show_since >= DWELL_S)
        following = next(reversed(self.in_flight.values()), None)
        if seen and following is not None:
            self.on_show, self.on_show_since = following, now

    def _tokens_per_second(self, now: float) -> float:
        """Tokens decoded per second, over the last WINDOW_S seconds."""
        tokens = sum(tokens for moment, tokens in self.steps if moment >= now - WINDOW_S)
        span = min(WINDOW_S, now - self.start)
        return tokens / span if span > 0 else 0.0
