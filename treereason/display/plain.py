"""Plain lines for files, pipes and terminals that cannot redraw."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console

from treereason.display import figures, report
from treereason.display.clean import one_line
from treereason.display.state import RunState, Snapshot
from treereason.display.stopping import announce_stop
from treereason.events import Event, ProblemDone, RunDone, RunStarted, StepDone

PERIOD = 5.0


class PlainDisplay:
    """One line a problem, one every few seconds in between, and the final report."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._console = console
        self._clock = clock
        self._state = RunState()
        self._printed = clock()

    def __call__(self, event: Event) -> None:
        now = self._clock()
        if isinstance(event, RunDone):
            for line in ("", *report.lines(event, self._state.started)):
                self._print(line)
            return
        if isinstance(event, RunStarted):
            self._state = RunState.begin(event, now)
            self._print(_start_line(event))
            self._printed = now
            return
        self._state.apply(event, now)
        if isinstance(event, ProblemDone):
            self._print(_problem_line(event, self._state.snapshot(now, 0)))
            self._printed = now
        elif isinstance(event, StepDone) and now - self._printed >= PERIOD:
            self._print(_progress_line(self._state.snapshot(now, 0)))
            self._printed = now

    def stopping(self) -> None:
        announce_stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to give back."""

    def _print(self, line: str) -> None:
        encoding = self._console.encoding
        self._console.file.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        self._console.file.flush()


def _start_line(event: RunStarted) -> str:
    name = "greedy baseline" if event.pass_name == "greedy" else event.search
    total = figures.count(event.num_problems, "problem")
    return one_line(f"{name} on {event.task}: {total}, model {event.model}, seed {event.seed}")


def _problem_line(done: ProblemDone, snapshot: Snapshot) -> str:
    if done.status == "failed":
        verdict = f"failed: {one_line(done.error or '')}"
    else:
        verdict = f"{'solved' if done.solved else 'not solved'}, score {figures.score(done.score)}"
        verdict += f", answer {one_line(str(done.answer), 80)}" if done.answer is not None else ", no answer"
    if done.thoughts_failed:
        verdict += f" ({figures.count(done.thoughts_failed, 'thought')} failed)"
    return f"[{snapshot.done}/{snapshot.total}] {one_line(done.problem, 40)}: {verdict}"


def _progress_line(snapshot: Snapshot) -> str:
    kv = f", KV {snapshot.kv_used:,} of {snapshot.kv_capacity:,} tokens" if snapshot.kv_capacity else ""
    failed = f", {snapshot.failed_thoughts:,} failed" if snapshot.failed_thoughts else ""
    return (
        f"  {figures.clock(snapshot.seconds)}  {snapshot.live:,} branches live, {snapshot.waiting:,} waiting, "
        f"{snapshot.pruned:,} pruned{failed}, {snapshot.tokens_per_second:,.0f} tokens/s{kv}"
    )
