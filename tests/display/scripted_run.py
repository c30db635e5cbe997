"""A scripted stream of events that looks like a run, and consoles to show it on."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable, Iterator
from io import StringIO
from typing import Any

import pyte
from rich.console import Console

from treereason.display import view
from treereason.display.state import RunState
from treereason.events import (
    Event,
    ProblemDone,
    ProblemStarted,
    RunDone,
    RunStarted,
    StepDone,
    ThoughtCreated,
    ThoughtDecoded,
    ThoughtFailed,
    ThoughtKept,
    ThoughtPath,
    ThoughtPruned,
    ThoughtScored,
)

STATES = {
    "step",
    "num_branches",
    "num_waiting",
    "kv_tokens_used",
    "kv_tokens_peak",
    "kv_tokens_capacity",
    "launch",
    "graph_bytes",
}
COUNTS = [field.name for field in dataclasses.fields(StepDone) if field.name not in STATES]
HOSTILE = "\x1b[2J\x1b]0;owned\x07 [red]not markup[/] [/] \u202egnihtyreve\u2066 \x9b31m a\nb\tc 漢字 👩‍👩‍👧 \ud800"


class Script:
    """A plausible run: `problems` in flight at once, a tree of thoughts with k children and b kept each."""

    def __init__(self, problems: int = 6, steps: int = 4, k: int = 5, b: int = 1, seed: int = 0) -> None:
        self.problems, self.steps, self.k, self.b = problems, steps, k, b
        self.rng = random.Random(seed)
        self.num_steps = 0

    def run(self) -> Iterator[Event]:
        yield run_started(self.problems)
        searches = []
        for i in range(self.problems):
            problem = f"sum-{i:03}"
            yield ProblemStarted(problem, " + ".join(str(self.rng.randint(10, 99)) for _ in range(6)))
            searches.append(self.search(problem))
        while searches:
            for search in searches[:8]:
                for _ in range(self.rng.randint(1, 4)):
                    event = next(search, None)
                    if event is None:
                        searches.remove(search)
                        break
                    yield event
            yield self.step(8 * len(searches))

    def search(self, problem: str) -> Iterator[Event]:
        frontier: list[ThoughtPath] = [()]
        total = num_failed = 0
        for depth in range(self.steps):
            children = [(*path, rank) for path in frontier for rank in range(self.k)]
            scores: dict[ThoughtPath, float] = {}
            for child in children:
                yield ThoughtCreated(problem, child, (child[:-1],))
            total += self.rng.randint(10, 99)
            for child in self.rng.sample(children, len(children)):
                if self.rng.random() < 0.06:
                    num_failed += 1
                    yield ThoughtFailed(problem, child, "the scorer gave no verdict within 5 s")
                    continue
                guess = total + self.rng.choice([0, 0, 0, 10, -1])
                text = f" carry {guess % 10}, the sum of the first {depth + 2} numbers is {guess}\n"
                yield ThoughtDecoded(problem, child, text, guess, -3.5, 12, 20, 96)
                scores[child] = round(self.rng.random(), 2)
                yield ThoughtScored(problem, child, scores[child], False)
            kept = sorted(scores, key=lambda path: -scores[path])[: self.b]
            for child in scores:
                yield ThoughtKept(problem, child) if child in kept else ThoughtPruned(problem, child)
            frontier = kept or frontier
        score = scores.get(frontier[0])
        solved = score is not None and score > 0.7
        yield problem_done(
            problem, score=score, solved=solved, answer=total, best=frontier[0], thoughts_failed=num_failed
        )

    def step(self, branches: int) -> StepDone:
        self.num_steps += 1
        used = 2000 + 90 * branches + 50 * (self.num_steps % 40)
        return StepDone(
            self.num_steps, branches, 4, 30, branches, used, max(used, 40_000), 65_536, used, used * 6, 0.02
        )


def step_done(**changes: Any) -> StepDone:
    """An engine step in which every count is 1 and every state 0."""
    numbers: dict[str, Any] = dict.fromkeys(STATES, 0) | dict.fromkeys(COUNTS, 1) | {"launch": ""}
    return StepDone(**{**numbers, **changes})


def run_started(problems: int, pass_name: str = "search") -> RunStarted:
    return RunStarted("arithmetic", "tree_of_thoughts", "embedded", "checked_sum", 7, problems, pass_name)


def problem_done(problem: str, **changes: Any) -> ProblemDone:
    fields: dict[str, Any] = {
        "status": "done",
        "solved": True,
        "score": 0.9,
        "answer": 42,
        "best": None,
        "error": None,
        "tokens_decoded": 400,
        "tokens_prefilled": 120,
        "tokens_reused": 960,
        "kv_tokens_peak": 500,
        "single_sample_scores": (0.2, 0.6),
    }
    return ProblemDone(problem, **{**fields, **changes})


def run_done(status: str = "done", **changes: Any) -> RunDone:
    summary: dict[str, Any] = {
        "task": "arithmetic",
        "search": "tree_of_thoughts",
        "model": "embedded",
        "seed": 7,
        "problems": 100,
        "problems_done": 100,
        "solved": 83,
        "failed": 2,
        "mean_score": 0.874,
        "single_sample_solved": 41.2,
        "single_sample_mean_score": 0.412,
        "greedy_solved": 51,
        "greedy_mean_score": 0.53,
        "tokens_decoded": 98_304,
        "tokens_prefilled": 20_480,
        "tokens_reused": 1_250_000,
        "kv_tokens_peak": 30_720,
        "kv_tokens_read_tree": 4_000_000,
        "kv_tokens_read_sequence": 61_200_000,
        "kv_read_ratio": 15.3,
        "seconds": 102.4,
        "tokens_per_second": 960.0,
    }
    return RunDone(status, {**summary, **changes}, "outputs/2026-11-21/10-00-00-a1b2")


def terminal(width: int = 100, height: int = 30) -> tuple[Console, StringIO]:
    file = StringIO()
    return Console(width=width, height=height, force_terminal=True, color_system=None, file=file), file


def pipe() -> tuple[Console, StringIO]:
    file = StringIO()
    return Console(width=100, force_terminal=False, color_system=None, file=file), file


def timed(events: Iterable[Event]) -> list[tuple[float, Event]]:
    """Twenty events per second."""
    return [(0.05 * i, event) for i, event in enumerate(events)]


def state_after(events: Iterable[Event]) -> RunState:
    state = RunState()
    for now, event in timed(events):
        state = state.apply(event, now)
    return state


def drawn(events: Iterable[Event], width: int = 100, height: int = 30) -> list[str]:
    """The lines of a live frame after the events."""
    events = list(events)
    state, now = state_after(events), 0.05 * len(events)
    console, file = terminal(width, height)
    snapshot = state.snapshot(now, view.rows_for_thoughts(height), view.max_depth(width))
    console.print(view.frame(snapshot, width, height))
    return file.getvalue().splitlines()


def screen_of(text: str, width: int = 100, height: int = 80) -> pyte.Screen:
    """The screen after `text`, tall enough that nothing scrolls out of it."""
    screen = pyte.Screen(width, height)
    pyte.Stream(screen).feed(text.replace("\n", "\r\n"))
    return screen


def half_way(script: Script) -> list[Event]:
    events = list(script.run())
    return events[: len(events) // 2]
