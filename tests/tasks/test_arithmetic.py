"""Arithmetic: the questions of few_shot with defaults of its own, and no files."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes import ScriptedLines, run_search
from treereason.core import Problem, Thought, UserError
from treereason.search import DepthFirst, TreeOfThoughts
from treereason.tasks import few_shot
from treereason.tasks.arithmetic import SCORERS, Arithmetic
from treereason.tasks.few_shot import FewShot
from treereason.tasks.steps_hold import steps_hold

PROBLEM = Problem("0", "2+4*5", 22)


def test_its_problems_and_scorers_are_those_of_few_shot() -> None:
    assert Arithmetic(limit=20, operations=6).problems(3) == FewShot(limit=20, operations=6, examples=0).problems(3)
    assert SCORERS == few_shot.SCORERS
    assert Arithmetic().scorer == "steps_hold"


def test_a_thought_is_a_line_and_there_are_no_worked_examples_unless_asked_for() -> None:
    bare, worked = Arithmetic().prompt(Thought(PROBLEM), "embedded"), Arithmetic(examples=3)
    assert bare is not None
    assert (bare.shared, bare.text, bare.stop) == ("", "Q2+4*5\n", ("\n",))
    assert worked.prompt(Thought(PROBLEM), "embedded") == FewShot(examples=3, stepwise=True).prompt(
        Thought(PROBLEM), "embedded"
    )
    whole = Arithmetic(stepwise=False).prompt(Thought(PROBLEM), "embedded")
    assert whole is not None
    assert whole.stop == ("\nQ",)


def test_it_reads_no_files_and_names_the_task_that_does() -> None:
    with pytest.raises(UserError, match=r"reads no files: take task=few_shot for task\.path=sums\.jsonl"):
        Arithmetic(path="sums.jsonl").problems(0)


@pytest.mark.parametrize("search", [TreeOfThoughts(k=2, b=1), DepthFirst(k=2, v_th=1.0)])
def test_searches_go_line_by_line(search: Any) -> None:
    lines = {(0,): "=2+21", (1,): "=2+20", (1, 0): "=22", (1, 1): "=24", (1, 0, 0): "A23", (1, 0, 1): "A22"}
    outcome = run_search(
        search,
        lambda path: lines[path],
        Arithmetic(),
        steps_hold,
        problems=[PROBLEM],
        engine=ScriptedLines,
        style="embedded",
    )
    assert (outcome.done.best, outcome.done.answer, outcome.done.solved) == ((1, 0, 1), 22, True)
    assert [expansion.parent for expansion in outcome.engine.expansions] == [(), (1,), (1, 0)]
