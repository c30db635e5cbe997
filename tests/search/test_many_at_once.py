"""Whether one problem is in flight or sixty-four, every search finds the same and pays the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

import treereason as tr
from tests.fakes import NumberTask, run_search, slow
from treereason import events
from treereason.config.registry import builtin
from treereason.core import Problem, Score, Thought, ThoughtPath
from treereason.engine.model.language_model import LanguageModel
from treereason.tasks.few_shot import FewShot
from treereason.tasks.steps_hold import steps_hold

SEARCHES = builtin("search")
OTHER_TASKS = ("choose", "recorded")  # they ask for options, and for the problems of task=recorded
DECODED = [name for name in SEARCHES if name not in OTHER_TASKS]
FAST = ("beam", "ets", "graph_of_thoughts", "mcts", "particle_filtering", "tree_of_thoughts")
PROBLEMS = [Problem(str(i), 9) for i in range(64)]
SMALL: Mapping[str, dict[str, Any]] = {
    "ab_mcts": {"n_iters": 6},
    "beam": {"n": 4, "beam_width": 2},
    "dvts": {"n": 4, "beam_width": 2},
    "ets": {"width": 4, "lambda_b": 2.0},
    "mcts": {"n_iters": 4, "parallel": 2},
    "particle_filtering": {"n": 4},
    "rebase": {"width": 4},
    "self_consistency": {"n": 4},
}
"""Options with which a search of the shipped model takes a moment."""


def number(path: ThoughtPath) -> str:
    return str(Random(str(path)).randrange(100))


def by_problem(thought: Thought) -> Score:
    """Another number for each problem, so that their searches go different ways."""
    value = Random(f"{thought.problem.id}/{thought.text}").randrange(1000)
    return Score(float(value), final=value == 999)


@pytest.mark.parametrize("search", DECODED)
def test_a_scripted_search_finds_the_same_with_64_problems_in_flight_as_with_one(search: str) -> None:
    runs = [
        run_search(
            SEARCHES[search](), number, NumberTask(3), by_problem, problems=PROBLEMS, parallel_problems=in_flight
        )
        for in_flight in (1, 64)
    ]
    alone, together = ({event.problem: event for event in each.of(events.ProblemDone)} for each in runs)
    assert len(alone) == 64
    assert alone == together
    assert list(alone) == [problem.id for problem in PROBLEMS], "one after another"
    assert all(event.error is None for event in alone.values())
    assert len({event.score for event in alone.values()}) > 1, "the problems are different ones"


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return tr.load("embedded")


@pytest.mark.parametrize("search", [*FAST, *slow(*(name for name in DECODED if name not in FAST))])
def test_the_shipped_model_finds_the_same_with_few_branches_and_one_problem_at_a_time(
    search: str, model: LanguageModel, tmp_path: Path
) -> None:
    task = FewShot(operations=2, examples=4, stepwise=True, limit=2)
    lines = []
    engines: dict[str, dict[str, Any]] = {
        "many": {},
        "few": {"max_branches": 3, "parallel_problems": 1, "prefill_tokens": 32},
    }
    for name, engine in engines.items():
        made = SEARCHES[search](**SMALL.get(search, {}))
        options: dict[str, Any] = {
            "temperature": 1.0,
            "baseline": "none",
            "scorer": lambda thought: steps_hold(thought),
        }
        tr.run(task, made, model, folder=tmp_path / name, **options, **engine)
        lines.append((tmp_path / name / "results.jsonl").read_bytes())
    assert lines[0] == lines[1]
    assert b'"status": "done"' in lines[0]
