"""Run folders of any size, written event by event as a run would."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from treereason.events import (
    Event,
    ProblemDone,
    ProblemStarted,
    RunStarted,
    StepDone,
    ThoughtCreated,
    ThoughtDecoded,
    ThoughtKept,
    ThoughtPath,
    ThoughtPruned,
    ThoughtScored,
)
from treereason.record.journal import Journal

WORDS = ("so", "the sum", "of both", "is then", "we see that", "it must be", "larger than", "4", "7", "12", "= + *")


def sentence(rng: random.Random) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(5, 60)))


def thoughts(num: int, seed: int = 0, text: Callable[[random.Random], str] = sentence) -> Iterator[Event]:
    """One problem, p, with `num` thoughts: 40 branches a level, of which some go on."""
    rng = random.Random(seed)
    yield ProblemStarted("p", "What is the sum of all even numbers below 20 that are not divisible by 3?")
    frontier: list[ThoughtPath] = [()]
    made = 0
    best: ThoughtPath = ()
    while made < num:
        children = [(*path, rank) for path in frontier for rank in range(4)][: num - made]
        kept = rng.sample(children, min(len(children), rng.randint(8, 60)))
        for path in children:
            yield ThoughtCreated("p", path, (path[:-1],))
            answer = str(rng.randint(0, 99)) if len(path) > 6 else None
            yield ThoughtDecoded("p", path, text(rng), answer, -3.0, 10, 20, 5, 0, 0.1, "end")
            yield ThoughtScored("p", path, round(rng.random(), 3), False, "value")
            yield ThoughtKept("p", path) if path in kept else ThoughtPruned("p", path)
        yield StepDone(made, len(children), 0, 10, len(children), 16 * (made % 700), 12_000, 20_000, 1000, 3000, 0.1)
        made += len(children)
        frontier = kept
        best = kept[0]
    yield ProblemDone(
        "p", "done", True, 0.9, "78", best, None, 20 * num, 10 * num, 5 * num, 12_000, guided_by=("value",)
    )


def folder(path: Path, num: int, text: Callable[[random.Random], str] = sentence) -> Path:
    """A run folder with `num` thoughts; returns its path."""
    path.mkdir(parents=True, exist_ok=True)
    times = iter(range(10**9))
    with Journal(path / "journal.sqlite", clock=lambda: next(times) / 1000) as journal:
        journal(
            RunStarted("word_problems", "tree_of_thoughts", "made-up", "value", 0, 1, overrides=("task=word_problems",))
        )
        for event in thoughts(num, text=text):
            journal(event)
    return path
