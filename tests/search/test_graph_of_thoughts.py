"""Graph of thoughts: the plans that its authors published, and what a plan may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.fakes import NumberTask, digits, run_search
from tests.search import independent
from treereason import events
from treereason.core import Problem, Prompt, Score, Thought, ThoughtPath, UserError
from treereason.search import GraphOfThoughts
from treereason.search.plans import MERGE_PLAN, SPLIT_PLAN, WHOLE_PLAN, plan_of
from treereason.tasks.sorting import Sorting

SEEDS = range(6)


@dataclass
class Sum(NumberTask):
    """An answer may be improved, and several be made one."""

    def prompt(self, thought: Thought, style: str) -> Prompt | None:  # noqa: ARG002
        return Prompt("improve" if thought.depth else "solve")

    def parse(self, thought: Thought) -> int:
        return int(thought.text)

    def aggregate_prompt(self, thoughts: Sequence[Thought], style: str) -> Prompt:  # noqa: ARG002
        return Prompt("+".join(thought.text for thought in thoughts))


@dataclass
class Parts(Sum):
    """A problem that comes apart: its parts are numbered."""

    def split(self, problem: Problem, parts: int) -> list[Any]:
        return [[problem.input, part] for part in range(parts)]

    def part_prompt(self, part: Any, style: str) -> Prompt:  # noqa: ARG002
        return Prompt(f"part {part}")

    def parse_part(self, thought: Thought) -> int:
        return int(thought.text)

    def score_part(self, thought: Thought) -> Score:
        assert thought.part
        assert thought.data["part"] in ([9, 0], [9, 1], [9, 2])
        return Score(float(thought.text))


def run(search: GraphOfThoughts, task: NumberTask, seed: int) -> Any:
    value = independent.values(seed)
    return run_search(search, lambda path: str(int(value(path))), task)


def made(outcome: Any) -> list[ThoughtPath]:
    return [child for each in outcome.engine.expansions for child in each.children]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_plan_for_sorting_splits_merges_and_improves(seed: int) -> None:
    order, best = independent.sorting_graph(independent.values(seed), 5, 10, 10)
    outcome = run(GraphOfThoughts(), Parts(), seed)
    assert made(outcome) == order
    assert outcome.done.best == best
    left, right, merge, improve = [each.prompt.text for each in outcome.engine.expansions]
    assert (left, right, improve) == ("part [9, 0]", "part [9, 1]", "improve")
    halves = [independent.best(order[i : i + 5], independent.values(seed)) for i in (0, 5)]
    assert merge == "+".join(str(int(independent.values(seed)(path))) for path in halves)
    assert set(outcome.done.guided_by) == {"score_part", "value"}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_plan_for_merging_keeps_drafts_in_competition(seed: int) -> None:
    order, best = independent.merging_graph(independent.values(seed))
    outcome = run(GraphOfThoughts(), Sum(), seed)
    assert made(outcome) == order
    assert outcome.done.best == best


def test_a_final_score_ends_the_plan() -> None:
    outcome = run_search(GraphOfThoughts(), lambda path: "9" if path == (0, 3) else "3", Parts())
    assert len(outcome.engine.expansions) == 3, "two parts and the merge"
    assert outcome.done.best == (0, 3)
    parts = run_search(GraphOfThoughts(("split 3", "generate 1", "aggregate 1")), digits, Parts())
    assert parts.done.best == (0, 0), "a part is never the answer"


def test_the_thoughts_of_a_part_are_pruned_among_themselves() -> None:
    outcome = run_search(GraphOfThoughts(("split 2", "generate 2", "keep 1", "aggregate 1")), digits, Parts())
    assert [event.thought for event in outcome.of(events.ThoughtKept)] == [(1,), (3,)]
    assert [event.thought for event in outcome.of(events.ThoughtPruned)] == [(0,), (2,)]
    assert outcome.done.best == (1, 0)


def test_where_a_part_has_no_answer_the_problem_has_none() -> None:
    outcome = run_search(GraphOfThoughts(), lambda path: None if path[0] < 5 else "3", Parts())
    assert (outcome.done.best, outcome.done.error) == (None, "out of pages")
    assert len(outcome.engine.expansions) == 2


def test_each_task_has_the_plan_that_fits_it() -> None:
    class Own(Sum):
        plan = ("generate 1",)

    assert [plan_of(task) for task in (Own(), Parts(), Sum(), NumberTask())] == [
        ("generate 1",),
        SPLIT_PLAN,
        MERGE_PLAN,
        WHOLE_PLAN,
    ]


@pytest.mark.parametrize(
    "plan",
    [
        *((), ("score",), ("keep 1",), ("generate",), ("generate 0",), ("generate 2", "dream 3")),
        *(("split 2", "aggregate 1"), ("split 2", "generate 1"), ("generate 2", "split 2")),
        ("split 2", "generate 2", "improve 2", "aggregate 1"),
    ],
)
def test_a_plan_that_leads_nowhere_is_refused(plan: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=r"^search\.plan=\["):
        GraphOfThoughts(plan)


@pytest.mark.parametrize(
    ("plan", "named"),
    [
        (("split 2", "generate 1", "aggregate 1"), "search.plan: split: task NumberTask has no split"),
        (("generate 1", "aggregate 1"), "search.plan: aggregate: task NumberTask has no aggregate_prompt"),
    ],
)
def test_a_task_that_cannot_follow_the_plan_is_named(plan: tuple[str, ...], named: str) -> None:
    error = run_search(GraphOfThoughts(plan), digits).done.error
    assert error is not None
    assert named in error


def test_more_thoughts_than_can_decode_at_once_are_refused() -> None:
    error = run_search(GraphOfThoughts(("generate 9", "improve 9999")), digits, Sum()).done.error
    assert error is not None
    assert "search.plan: improve 9999: 89,991 thoughts at once, more than 65,536" in error


def test_lists_of_digits_come_apart_and_are_merged() -> None:
    task = Sorting(length=7)
    problem = Problem("p", [3, 1, 2, 0, 9, 8, 7])
    assert task.split(problem, 2) == [[3, 1, 2], [0, 9, 8, 7]]
    assert [len(part) for part in task.split(problem, 99)] == [1] * 7
    assert task.part_prompt([3, 1, 2], "embedded").text == "sort 312="
    halves = [
        Thought(problem, (i,), text=text, part=True, data={"part": part})
        for i, (text, part) in enumerate(zip(("123", "0788"), task.split(problem, 2), strict=True))
    ]
    assert [task.score_part(half) for half in halves] == [Score(0, final=True), Score(-2)]
    assert task.aggregate_prompt(halves, "embedded").text == "merge 123+0788="
    assert "[1, 2, 3], [0, 7, 8, 8]" in task.aggregate_prompt(halves, "chat").text
    assert task.score_part(Thought(problem, text="no", data={"part": [1]})) == Score(-300)
    with pytest.raises(UserError, match="the shipped model merges two lists, not 1"):
        task.aggregate_prompt(halves[:1], "embedded")
