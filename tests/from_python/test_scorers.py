"""Scorers that are given from Python: those that another process can import run there, others here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import treereason as tr
from tests.from_python.driving import answers, run
from tests.importable import Judge, by_process, raises
from treereason.engine.model.language_model import LanguageModel


def test_a_scorer_that_can_be_imported_runs_in_a_process_of_its_own(model: LanguageModel) -> None:
    found = run(model, scorer=by_process)
    scores = {problem.score for problem in found.problems}
    assert len(scores) == 1
    assert os.getpid() not in scores
    assert found.summary["scorer"] == "by_process"


def test_scorers_that_no_other_process_can_import_run_here(model: LanguageModel) -> None:
    seen: list[tr.Thought] = []

    def closure(thought: tr.Thought) -> tr.Score:
        seen.append(thought)
        return tr.Score(os.getpid())

    few = tr.search.BestOfN(n=2)
    found = run(model, search=few, scorer=closure)
    assert {problem.score for problem in found.problems} == {os.getpid()}
    assert seen[0] in found.problems[0].thoughts
    assert run(model, search=few, scorer=lambda _: 0.5).mean_score == 0.5
    judge = Judge()
    assert run(model, scorer=judge).mean_score == 0.25
    assert judge.seen == 36, "four steps of three thoughts for three problems"
    assert run(model, search=few, scorer=Judge).summary["scorer"] == "Judge"


@pytest.mark.parametrize("in_this_process", [False, True])
def test_a_scorer_that_raises_fails_its_thoughts_wherever_it_runs(model: LanguageModel, in_this_process: bool) -> None:
    found = run(model, scorer=(lambda thought: raises(thought)) if in_this_process else raises)
    assert found.failed == 3
    why = "scorer: LookupError: no such list"
    assert str(found.problems[0].error).startswith(why)
    assert repr(found.problems[0]).startswith(f"<ProblemResult 0: failed: {why}")


def test_a_scorer_can_be_a_name_or_a_file(model: LanguageModel, tmp_path: Path) -> None:
    (tmp_path / "halves.py").write_text("def half(thought):\n    return 0.5\n")
    assert run(model, scorer=f"{tmp_path}/halves.py:half").mean_score == 0.5
    assert answers(run(model, scorer="sorting_errors")) == answers(run(model))


def test_closures_may_be_batch_or_async_scorers(model: LanguageModel) -> None:
    async def asked(_: tr.Thought, tree: tr.Tree) -> float:
        return float(tree.cost.tokens_decoded > 0)

    assert run(model, scorer=lambda thoughts: [len(thoughts)] * len(thoughts)).mean_score == 3
    assert run(model, scorer=asked).mean_score == 1
