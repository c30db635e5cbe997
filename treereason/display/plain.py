"""Plain lines for files, pipes and terminals that cannot redraw."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console

from treereason.display import formatting, report
from treereason.display.base import Display
from treereason.display.state import RunState, Snapshot
from treereason.events import Event, ProblemDone, RunDone, RunResumed, RunStarted, StepDone
from treereason.text import printable

PERIOD_S = 5.0


class PlainDisplay(Display):
    """One line per problem, one every few seconds in between, and the report at the end."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._console = console
        self._clock = clock
        self._state = RunState()
        self._printed = clock()

    def __call__(self, event: Event) -> None:
        now = self._clock()
        self._state = self._state.apply(event, now)
        match event:
            case RunStarted():
                self._print(_start_line(event), now)
            case RunResumed():
                self._print(f"goes on, {formatting.count(len(self._state.done), 'problem')} done", now)
            case ProblemDone():
                self._print(_problem_line(event, self._state.snapshot(now, 0)), now)
            case StepDone() if now - self._printed >= PERIOD_S:
                self._print(_progress_line(self._state.snapshot(now, 0)), now)
            case RunDone():
                for line in ("", *report.lines(event, self._state.started)):
                    self._print(line, now)

    def _print(self, line: str, now: float) -> None:
        encoding = self._console.encoding
        self._console.file.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        self._console.file.flush()
        self._printed = now


def _start_line(event: RunStarted) -> str:
    name = "greedy baseline" if event.pass_name == "greedy" else event.search
    problems = formatting.count(event.num_problems, "problem")
    return printable(f"{name} on {event.task}: {problems}, model {event.model}, seed {event.seed}")


def _problem_line(done: ProblemDone, snapshot: Snapshot) -> str:
    if done.status == "failed":
        verdict = f"failed: {printable(done.error or '')}"
    else:
        verdict = f"{'solved' if done.solved else 'not solved'}, score {formatting.score(done.score)}"
        verdict += f", answer {formatting.answer(done.answer, 80)}" if done.answer is not None else ", no answer"
    if done.thoughts_failed:
        verdict += f" ({formatting.count(done.thoughts_failed, 'thought')} failed)"
    return f"[{snapshot.num_done}/{snapshot.num_problems}] {printable(done.problem, 40)}: {verdict}"


def _progress_line(snapshot: Snapshot) -> str:
    used, capacity = snapshot.kv_tokens_used, snapshot.kv_tokens_capacity
    kv = f", KV {used:,} of {capacity:,} tokens" if capacity else ""
    failed = f", {snapshot.num_thoughts_failed:,} failed" if snapshot.num_thoughts_failed else ""
    return (
        f"  {formatting.clock(snapshot.seconds)}  {snapshot.num_live:,} branches live, "
        f"{snapshot.num_waiting:,} waiting, {snapshot.num_pruned:,} pruned{failed}, "
        f"{snapshot.tokens_per_second:,.0f} tokens/s{kv}"
    )
