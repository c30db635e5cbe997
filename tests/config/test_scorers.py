"""Scorers: functions of any kind and classes whose objects can be called, none of which is called here."""

from __future__ import annotations

from pathlib import Path

import pytest

from treereason.config.scorers import load_scorer, scorer_reference
from treereason.config.validate import build_task
from treereason.core import UserError

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
