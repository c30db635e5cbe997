"""A search that cannot search for a task says so in one line, before a problem is begun."""

from __future__ import annotations

import pytest

import treereason as tr

SORTING = tr.tasks.Sorting(length=8, limit=1)


@pytest.mark.parametrize(
    ("search", "line"),
    [
        (tr.search.Choose(), "search=choose: Sorting gives no options: take task=choices"),
        (tr.search.TreeOfThoughts(generate="propose"), "search.generate=propose: task Sorting has no propose_prompt"),
        (tr.search.DepthFirst(generate="propose"), "search.generate=propose: task Sorting has no propose_prompt"),
        (tr.search.TreeOfThoughts(evaluate="vote"), "search.evaluate=vote: Sorting has no vote_prompt"),
    ],
)
def test_a_search_that_does_not_fit_the_task_is_refused_before_the_run(search: tr.core.Search, line: str) -> None:
    with pytest.raises(tr.core.UserError, match=line):
        tr.run(SORTING, search, tr.load("embedded"))


@pytest.mark.parametrize(
    ("plan", "line"),
    [
        (("split 2", "generate 2", "aggregate 1"), "search.plan: split: task FewShot has no split"),
        (("generate 2", "aggregate 1"), "search.plan: aggregate: task FewShot has no aggregate_prompt"),
    ],
)
def test_a_plan_with_an_operation_that_the_task_lacks_is_refused_before_the_run(
    plan: tuple[str, ...], line: str
) -> None:
    with pytest.raises(tr.core.UserError, match=line):
        tr.run(tr.tasks.FewShot(operations=2, limit=1), tr.search.GraphOfThoughts(plan), tr.load("embedded"))


def test_a_search_that_fits_is_not_refused() -> None:
    """The plan that a task is given by default holds nothing it lacks."""
    for task in (SORTING, tr.tasks.FewShot(operations=1, limit=1)):
        assert tr.run(task, tr.search.GraphOfThoughts(), tr.load("embedded")).problems
