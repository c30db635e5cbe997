"""Events of a run, and the summary that they add up to."""

from __future__ import annotations

import itertools
from typing import Any

from treereason.events import Event, ProblemDone, ProblemStarted, RunStarted, StepDone
from treereason.record import Summary


def started(pass_name: str = "search", problems: int = 3) -> RunStarted:
    return RunStarted("sorting", "tree_of_thoughts", "embedded", "oracle", 11, problems, pass_name)


def done(problem: str, **changes: Any) -> ProblemDone:
    fields: dict[str, Any] = {
        "status": "done",
        "solved": True,
        "score": 0.1 + 0.2,
        "answer": [1, 2],
        "best": (0, 1),
        "error": None,
        "tokens_decoded": 10,
        "tokens_prefilled": 20,
        "tokens_reused": 30,
        "tokens_wasted": 4,
        "kv_tokens_peak": 40,
        "single_sample_scores": (0.0, 0.5),
        "single_sample_solved": (False, True),
    }
    return ProblemDone(problem, **{**fields, **changes})


def step(**changes: Any) -> StepDone:
    fields: dict[str, Any] = dict.fromkeys(StepDone.__dataclass_fields__, 0) | {"launch": ""}
    return StepDone(**{**fields, **changes})


def run_events() -> list[Event]:
    return [
        started(),
        ProblemStarted("a", 1),
        step(
            tokens_decoded=13,
            tokens_prefilled=60,
            kv_tokens_peak=50,
            kv_tokens_read_tree=10,
            kv_tokens_read_sequence=80,
            tokens_rebuilt=6,
        ),
        done("a", score=1.0, tokens_reused=5, single_sample_scores=(0.0, 1.0)),
        step(tokens_decoded=17, kv_tokens_peak=70, kv_tokens_read_tree=10, kv_tokens_read_sequence=40),
        done(
            "b",
            score=None,
            status="failed",
            error="no memory",
            thoughts_failed=3,
            first_thought_error="scorer: ValueError: no number",
            guided_by=("oracle", "checker"),
            solved=False,
            tokens_reused=7,
            single_sample_scores=(),
            single_sample_solved=(),
        ),
        done(
            "c",
            score=0.5,
            solved=False,
            thoughts_failed=2,
            first_thought_error="another",
            guided_by=("oracle",),
            tokens_reused=9,
            single_sample_scores=(0.0, 0.75),
            single_sample_solved=(False, False),
        ),
    ]


def summary_of(events: list[Event]) -> Summary:
    ticks = itertools.count(100.0, 0.5)
    summary = Summary(clock=lambda: next(ticks))
    for event in events:
        summary(event)
    return summary
