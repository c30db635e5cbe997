"""Scorers: functions of any kind and classes whose objects can be called, none of which is called here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from treereason.config.scorers import load_scorer, scorer_reference
from treereason.config.validate import build_task
from treereason.core import UserError, basis_of, derived, judge, label_free, oracle

MINE = """
from treereason.tasks.base import BaseTask

class Mine(BaseTask):
    scorer = "loud"

def loud(thought):
    return 1.0

class Reward:
    def __init__(self, size=1):
        raise RuntimeError("made in the main process")
    def __call__(self, thought): ...

class Needy:
    def __init__(self, model): ...
    def __call__(self, thought): ...

class Silent: ...

async def judge(thought, tree): ...
def batch(thoughts): ...
near = 3
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "my task.py"
    path.write_text(MINE)
    return path


def test_a_task_of_a_users_file_names_a_scorer_of_that_file(mine: Path) -> None:
    assert scorer_reference(None, build_task({"name": str(mine)})) == f"{mine}:loud"
    assert scorer_reference("Reward", build_task({"name": str(mine)})) == f"{mine}:Reward"


@pytest.mark.parametrize("name", ["loud", "judge", "batch", "Reward"])
def test_functions_coroutines_batch_functions_and_classes_are_scorers(mine: Path, name: str) -> None:
    reference = scorer_reference(f"{mine}:{name}", build_task({"name": "sorting"}))
    assert load_scorer(reference).__name__ == name


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (":near", "a scorer is a function or a class, and this is of type int"),
        (":Silent", "objects of Silent cannot be called: give it `def __call__(self, thought)`"),
        (":Needy", "Needy is made without arguments, so give model of its __init__ a default"),
        (":lou", "has no lou; did you mean loud?"),
        ("", "say which function or class in it"),
    ],
)
def test_what_is_not_a_scorer_is_refused(mine: Path, reference: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        load_scorer(f"{mine}{reference}")
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"scorer={mine}{reference}: ")


def test_an_unknown_scorer_of_a_task_gets_the_nearest_one() -> None:
    with pytest.raises(UserError, match="did you mean sorting_errors"):
        scorer_reference("sorting_error", build_task({"name": "sorting"}))
    with pytest.raises(UserError, match="task Sorting has no such scorer"):
        scorer_reference("shown", build_task({"name": "sorting"}))


def test_a_name_that_no_task_knows_is_looked_up_among_those_of_every_task() -> None:
    for task in ("sorting", "few_shot"):
        assert scorer_reference("likelihood", build_task({"name": task})).endswith("builtin:SCORERS.likelihood")


def test_an_unknown_scorer_without_a_near_one_lists_them_with_what_they_rest_on(mine: Path) -> None:
    with pytest.raises(UserError) as caught:
        scorer_reference("zzz", build_task({"name": "few_shot"}))
    assert "(oracle), steps_hold (oracle), likelihood (label_free), " in str(caught.value)
    with pytest.raises(UserError, match=r"no such scorer; did you mean likelihood\?"):
        scorer_reference("likelyhood", build_task({"name": str(mine)}))


@pytest.mark.parametrize(
    ("mark", "basis"), [(oracle, "oracle"), (label_free, "label_free"), (judge, "judge"), (derived, "derived")]
)
def test_a_mark_says_what_a_scorer_rests_on(mark: Callable[[Any], Any], basis: str) -> None:
    def scorer(thought: object) -> float:  # noqa: ARG001
        return 1.0

    assert basis_of(scorer) == "unmarked"
    assert basis_of(mark(scorer)) == basis
    assert (getattr(scorer, "oracle", False), mark(scorer)) == (basis == "oracle", scorer)


def test_a_scorer_that_calls_itself_an_oracle_is_one() -> None:
    class Old:
        oracle = True

    assert basis_of(Old) == basis_of(Old()) == "oracle"
