"""Which thoughts are shown when there are more than rows."""

from __future__ import annotations

import random

import pytest

from treereason.display.thoughts import ShownProblem
from treereason.display.viewport import choose
from treereason.events import (
    ProblemDone,
    ThoughtCreated,
    ThoughtDecoded,
    ThoughtFailed,
    ThoughtKept,
    ThoughtPath,
    ThoughtPruned,
    ThoughtScored,
)


def large_problem(num_thoughts: int) -> ShownProblem:
    rng = random.Random(1)
    problem = ShownProblem.start("large", "a long search")
    paths: list[ThoughtPath] = [()]
    for _ in range(num_thoughts):
        parent = rng.choice(paths[-200:])
        path = (*parent, len(problem.thoughts[parent].children))
        problem.apply(ThoughtCreated("large", path, (parent,)))
        if rng.random() < 0.9:
            paths.append(path)
            problem.apply(ThoughtDecoded("large", path, f"thought {path}", None, 0.0, 0, 0, 0))
            problem.apply(ThoughtScored("large", path, rng.random(), False))
            problem.apply(rng.choice([ThoughtKept, ThoughtPruned])("large", path))
    return problem


@pytest.mark.parametrize("height", [3, 10, 30])
def test_five_thousand_thoughts_cost_no_more_rows_than_the_viewport_has(height: int) -> None:
    problem = large_problem(5000)
    port = choose(problem, height)
    assert port.height <= height
    assert len(port.rows) >= height - 2
    assert sum(row.num_thoughts for row in port.rows) + port.levels_above + port.num_more == 5001
    assert sum(row.is_best for row in port.rows) == 1


def test_few_thoughts_are_all_shown_in_order() -> None:
    problem = ShownProblem.start("p", [3, 1, 2])
    for path in [(0,), (1,), (1, 0), (2,)]:
        problem.apply(ThoughtCreated("p", path, (path[:-1],)))
        problem.apply(ThoughtDecoded("p", path, str(path), None, 0.0, 0, 0, 0))
    problem.apply(ThoughtKept("p", (1,)))
    problem.apply(ThoughtKept("p", (1, 0)))
    problem.apply(ThoughtPruned("p", (2,)))
    port = choose(problem, 10)
    assert [row.guides + row.text for row in port.rows] == [
        "[3, 1, 2]", "├─(0,)", "├─(1,)", "│ ╰─(1, 0)", "╰─(2,)",
    ]  # fmt: skip
    assert [row.on_best_path for row in port.rows] == [True, False, True, True, False]
    assert (port.levels_above, port.num_more) == (0, 0)


def test_siblings_that_are_decoded_share_a_row() -> None:
    problem = ShownProblem.start("p", "q")
    for rank in range(50):
        problem.apply(ThoughtCreated("p", (rank,), ((),)))
    problem.apply(ThoughtDecoded("p", (3,), "first", None, 0.0, 0, 0, 0))
    port = choose(problem, 10)
    assert [(row.text, row.num_thoughts) for row in port.rows] == [("q", 1), ("", 49), ("first", 1)]
    assert port.num_more == 0


def test_the_best_path_is_shown_before_anything_else() -> None:
    problem = ShownProblem.start("p", "q")
    best = (0, 0, 0)
    others = [(rank,) for rank in range(1, 50)]
    for path in [(0,), (0, 0), best, *others]:
        problem.apply(ThoughtCreated("p", path, (path[:-1],)))
    for path in [(0,), (0, 0), best, *others[:30]]:
        problem.apply(ThoughtDecoded("p", path, str(path), None, 0.0, 0, 0, 0))
    for path in others[:10]:
        problem.apply(ThoughtKept("p", path))
    for path in others[30:40]:
        problem.apply(ThoughtFailed("p", path, "no verdict"))
    problem.apply(ProblemDone("p", "done", True, 1.0, 7, best, None, 1, 2, 3, 4))
    assert [row.text for row in choose(problem, 7).rows if row.on_best_path] == ["q", "(0,)", "(0, 0)", str(best)]
