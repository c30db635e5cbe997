"""Judges: what they ask the run's model, how they read its answers, and what that costs."""

from __future__ import annotations

import json
import math
import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import treereason as tr
from tests.fakes import NumberTask, Outcome, run_search
from treereason.cli.main import main
from treereason.controller.budget import Budget
from treereason.core import Basis, Problem, Prompt, Thought, ThoughtPath, Tree, Writing, basis_of
from treereason.core.judges import GRADE, VERDICT, Value, Vote, YesNo, parse_grade
from treereason.events import ProblemDone, ThoughtScored
from treereason.scoring.builtin import SCORERS
from treereason.search import BestOfN, SelfConsistency
from treereason.tasks.prompt_files import Template
from treereason.tasks.sorting import Sorting

SAMPLES: dict[ThoughtPath, str] = {(0,): "3", (1,): "5", (2,): "5"}


@dataclass
class Judged(NumberTask):
    """A task that words its own questions."""

    def template(self, style: str, name: str) -> Template:
        assert (style, name) == ("embedded", "verdict")
        return Template("?", choices=("+", "-"))

    def judge_prompt(self, thought: Thought, style: str) -> Prompt | None:
        return Prompt(f"{style}: is {thought.text} sure?", appended=True) if thought.text != "5" else None

    def parse_value(self, text: str) -> float | None:
        return {"sure": 20.0, "likely": 1.0}.get(text)

    def vote_prompt(self, thoughts: list[Thought], style: str) -> Prompt | None:  # noqa: ARG002
        return Prompt("best of " + " ".join(thought.text for thought in thoughts))


def judged(
    scorer: Any,
    task: Any = None,
    answers: Callable[[ThoughtPath], str] = lambda _: "",
    likely: Callable[[str], float] = lambda _: -1.0,
    search: Any = None,
    **options: Any,
) -> Outcome:
    """Three samples, of which the judge chooses one. answers: what the model writes when the judge asks it."""
    return run_search(
        search or BestOfN(n=3),
        lambda path: SAMPLES.get(path) or answers(path),
        task=task,
        inline_scorer=scorer,
        likely=likely,
        **options,
    )


def scores(outcome: Outcome) -> dict[ThoughtPath, float]:
    return {event.thought: event.score for event in outcome.of(ThoughtScored)}


def test_yes_and_no_are_weighed_behind_the_thought_and_no_token_is_decoded() -> None:
    outcome = judged(YesNo(), likely=lambda text: math.log({" yes": 0.3, " no": 0.1}.get(text, 1.0)))
    assert scores(outcome) == {path: pytest.approx(0.75) for path in SAMPLES}
    asked = [request for request in outcome.engine.requests if isinstance(request, Writing)]
    assert [request.parent for request in asked] == list(SAMPLES)
    assert {(request.prompt.text, request.prompt.appended, request.texts) for request in asked} == {
        (VERDICT, True, (" yes", " no"))
    }
    assert outcome.done.tokens_decoded == 3, "of the samples alone"


def test_a_task_words_its_own_verdict() -> None:
    outcome = judged(YesNo(), Judged(), likely=lambda text: -1.0 if text == "-" else -3.0, style="embedded")
    assert scores(outcome) == dict.fromkeys(SAMPLES, pytest.approx(1 / (1 + math.exp(2))))
    assert {request.prompt.text for request in outcome.engine.requests if isinstance(request, Writing)} == {"?"}


def test_choices_that_are_all_unlikely_are_weighed_against_each_other() -> None:
    outcome = judged(YesNo(), likely=lambda text: -2001.0 if text == " no" else -2000.0)
    assert scores(outcome)[(0,)] == pytest.approx(1 / (1 + math.exp(-1)))


def test_grades_are_written_behind_the_thought_and_averaged() -> None:
    grades: dict[ThoughtPath, str] = {
        (1, 0): "8",
        (1, 1): " 6/10",
        (1, 2): "no idea",
        (0, 0): "11",
        (0, 1): "0",
        (0, 2): "2",
    }
    outcome = judged(Value(), answers=lambda path: grades.get(path, "3"))
    assert scores(outcome) == {(0,): pytest.approx(0.2 / 3), (1,): pytest.approx(1.4 / 3), (2,): pytest.approx(0.3)}
    assert outcome.done.best == (1,)
    asked = outcome.engine.expansions[1:]
    assert [(request.parent, request.prompt, len(request.children)) for request in asked] == [
        (path, GRADE, 3) for path in SAMPLES
    ]


def test_a_task_words_and_reads_its_own_grades() -> None:
    outcome = judged(Value(samples=2), Judged(), answers=lambda path: "9" if path[0] else ("sure", "likely")[path[1]])
    assert scores(outcome)[(0,)] == 10.5
    assert scores(outcome)[(1,)] == 0.9, "where the task has no prompt for a thought, general words do"
    assert outcome.engine.expansions[1].prompt.text == "plain: is 3 sure?"


def test_votes_compare_the_thoughts_that_are_scored_together() -> None:
    votes: dict[ThoughtPath, str] = {(0, 0): "2", (0, 1): "3, no: 2", (0, 2): "none"}
    outcome = judged(Vote(), answers=votes.__getitem__)
    assert scores(outcome) == {(0,): 0.0, (1,): pytest.approx(2 / 3), (2,): 0.0}
    [ballot] = outcome.engine.expansions[1:]
    assert "of one problem.\n\n9\n\nSolution 1:\n3\n\nSolution 2:\n5\n\nSolution 3:\n5\n\n" in ballot.prompt.text
    own = judged(Vote(samples=1), Judged(), answers=lambda _: "1")
    assert scores(own) == {(0,): 1.0, (1,): 0.0, (2,): 0.0}
    assert own.engine.expansions[1].prompt.text == "best of 3 5 5"


def test_a_ballot_puts_the_problem_as_the_task_words_it() -> None:
    outcome = judged(Vote(samples=1), Sorting(), problems=[Problem("p", [3, 1, 2], [1, 2, 3])])
    ballot = outcome.engine.expansions[1].prompt.text
    assert "of one problem.\n\nGiven: [3, 1, 2]\nOrdered:\n\nSolution 1:\n3\n\nSolution 2:" in ballot


def test_a_thought_alone_has_all_votes_and_costs_none() -> None:
    outcome = judged(Vote(), search=BestOfN(n=1))
    assert (scores(outcome), len(outcome.engine.requests)) == ({(0,): 1.0}, 1)


@pytest.mark.parametrize(
    ("text", "grade"), [("7", 0.7), (" 10", 1.0), ("2.5 of 10", 0.25), ("0", None), ("12", None), ("sure", None)]
)
def test_grades_from_1_to_10_are_read(text: str, grade: float | None) -> None:
    assert parse_grade(text) == grade


def test_judges_weigh_the_votes_of_self_consistency() -> None:
    search = SelfConsistency(n=3, vote="weighted")
    assert judged(Value(1), answers=lambda path: "9" if path[0] == 0 else "1", search=search).done.answer == 3
    assert judged(Value(1), answers=lambda _: "9", search=search).done.answer == 5


def test_what_judges_took_is_counted_and_told_apart() -> None:
    outcome = judged(Value(samples=2), answers=lambda _: "1234")
    assert outcome.done.tokens_decoded == 3 + 3 * 2 * 4
    assert outcome.done.judge_tokens_decoded == 3 * 2 * 4
    assert outcome.done.judge_tokens_prefilled == 3 * 2
    assert judged(YesNo()).done.judge_tokens_prefilled == 3 * (4 + 3)


def test_two_judges_side_by_side_count_for_themselves_and_not_for_the_search() -> None:
    async def search(tree: Tree) -> Thought | None:
        thoughts = await tree.expand([tree.root], 3)
        await tree.gather(tree.score(thoughts[:1]), tree.expand(thoughts[1:2], prompt=GRADE), tree.score(thoughts[2:]))
        return tree.best()

    class Search:
        run = staticmethod(search)

    outcome = judged(Value(samples=1), answers=lambda _: "1234", search=Search())  # the record judges two more
    assert (outcome.done.tokens_decoded, outcome.done.judge_tokens_decoded) == (3 + 4 + 4 * 4, 4 * 4)


def test_a_judge_that_asks_another_one_is_still_a_judge() -> None:
    class Twice(Value):
        async def __call__(self, thought: Thought, tree: Tree) -> float:
            await tree.score([thought], by=Value(samples=1))
            return await super().__call__(thought, tree)

    outcome = judged(Twice(samples=1), answers=lambda _: "1234")
    assert (outcome.done.tokens_decoded, outcome.done.judge_tokens_decoded) == (3 + 3 * 2 * 4, 3 * 2 * 4)


def test_grades_that_their_limit_ended_are_no_thoughts_cut_off() -> None:
    outcome = judged(Value(samples=1), answers=lambda _: "123456789")
    assert (outcome.done.thoughts_cut, outcome.done.judge_tokens_decoded) == (0, 3 * GRADE.max_tokens)


@pytest.mark.parametrize("search", [BestOfN(n=3), SelfConsistency(n=3)])
def test_a_budget_that_pays_for_no_judge_ends_no_run(search: Any) -> None:
    for tokens in range(1, 12):
        outcome = judged(
            Value(samples=2),
            answers=lambda _: "12",
            search=search,
            budget=lambda: Budget(tokens),  # noqa: B023
            problems=[Problem("p", 9), Problem("q", 9)],
        )
        ended = outcome.of(ProblemDone)
        assert sorted(done.problem for done in ended) == ["p", "q"]
        assert all(done.tokens_decoded <= tokens for done in ended)


def test_an_answer_that_no_judge_can_be_paid_for_has_no_score() -> None:
    class Search:
        async def run(self, tree: Tree) -> Thought | None:
            [first] = await tree.expand([tree.root])
            while await tree.expand([tree.root]):
                pass
            return first

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        outcome = judged(Value(samples=2), search=Search(), budget=lambda: Budget(3))
    assert (outcome.done.status, outcome.done.answer, outcome.done.score) == ("done", 3, None)
    assert [str(warning.message) for warning in told] == [], "of judges that were asked and never ended"


def test_every_judge_is_marked_as_one() -> None:
    assert {name for name, scorer in SCORERS.items() if basis_of(scorer) is Basis.JUDGE} == {
        "judge_yes_no",
        "judge_value",
        "judge_vote",
        "reward_model",
    }


@pytest.mark.parametrize(
    ("task", "name", "lacks"),
    [
        ("set_intersection", "judge_yes_no", 'SetIntersection has no template "verdict" for models of style embedded'),
        ("sorting", "judge_value", "Sorting has no judge_prompt for models of style embedded"),
        ("few_shot", "judge_vote", "FewShot has no vote_prompt for models of style embedded"),
    ],
)
def test_a_style_without_a_fitting_prompt_is_told_before_the_run(
    task: str, name: str, lacks: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([f"task={task}", "search=best_of_n", f"scorer={name}"]) == 2
    assert f"error: scorer={name}: {lacks}" in capsys.readouterr().err


def test_a_prompt_that_a_task_lacks_for_one_thought_fails_that_thought() -> None:
    outcome = judged(Value(samples=1), Judged(), answers=lambda _: "sure", style="embedded")
    assert (outcome.done.best, outcome.done.thoughts_failed) == ((0,), 2)
    assert "Judged has no judge_prompt for this thought" in str(outcome.done.first_thought_error)


def test_the_included_model_is_asked_behind_the_last_token_of_each_step(tmp_path: Path) -> None:
    options = ["task=few_shot", "task.stepwise=true", "task.limit=2", "search=best_of_n", "search.n=3", "baseline=none"]
    assert main([*options, "scorer=judge_yes_no", "display=none", f"hydra.run.dir={tmp_path}"]) == 0
    summary: dict[str, Any] = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["thoughts_failed"], summary["guided_by_basis"]) == (0, ["judge"])
    assert summary["judge_tokens_decoded"] == 0
    # Behind a thought's KV come its last token, which was never fed, and "?"; at most a page's beginning again.
    assert 0 < summary["judge_tokens_prefilled"] < summary["problems"] * 3 * 17


@dataclass(frozen=True)
class Sums(tr.tasks.BaseTask):
    """Prompts that a model of 256 positions, a letter each, has room for."""

    scorer = "judge_value"

    def generate(self, rng: random.Random) -> tuple[str, int]:
        left, right = rng.randrange(9), rng.randrange(9)
        return f"{left}+{right}", left + right

    def prompt(self, thought: Thought, style: str) -> Prompt | None:  # noqa: ARG002
        return None if thought.depth else Prompt(f"{thought.problem.input}=", max_tokens=8, ignore_end=True)


@pytest.mark.parametrize("name", ["judge_yes_no", "judge_value", "judge_vote"])
def test_a_model_of_another_style_is_asked_in_general_words(name: str, tiny_model: Any) -> None:
    model, _ = tiny_model("llama")
    run = tr.run(Sums(limit=1), BestOfN(n=2), model, scorer=name, baseline="none")
    assert (run.summary["scorer_basis"], run.summary["thoughts_failed"]) == ("judge", 0)
    assert [thought for thought in run.problems[0].thoughts if thought.part], "what it was asked is in the tree"
    again = tr.run(Sums(limit=1), BestOfN(n=2), model, scorer=name, baseline="none", deterministic=True)
    assert [t.text for t in again.problems[0].thoughts] == [t.text for t in run.problems[0].thoughts]
