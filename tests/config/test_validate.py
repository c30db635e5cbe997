"""Tasks and searches are built from checked values; what their own code raises is told in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from treereason.config.registry import Kind
from treereason.config.validate import build_search, build_task
from treereason.core import UserError
from treereason.text import nearest

BUILD = {"task": build_task, "search": build_search}


@pytest.mark.parametrize(
    ("kind", "params", "said"),
    [
        ("search", {"name": "tree_of_thoughts", "k": 0}, "search.k=0: should be greater than or equal to 1"),
        ("search", {"name": "tree_of_thoughts", "k": True}, "search.k=true"),
        ("search", {"name": "tree_of_thoughts", "k": 1.5}, "search.k=1.5"),
        ("search", {"name": "tree_of_thoughts", "kk": 2}, "search.kk: tree_of_thoughts has no such option"),
        ("search", {"name": "best_of"}, "did you mean best_of_n?"),
        ("task", {"name": "sort"}, "did you mean sorting?"),
        ("task", {"name": "sorting", "limit": 0}, "task.limit=0"),
        ("task", {}, "task.name is missing"),
    ],
)
def test_parameters_of_plugins_are_checked(kind: Kind, params: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=r"^.*$") as caught:
        BUILD[kind](params)
    assert said in str(caught.value)


def test_nearest_suggests_or_lists() -> None:
    assert nearest("sortin", ["sorting", "few_shot"]) == "did you mean sorting?"
    assert nearest("zzz", ["sorting", "few_shot"]) == "it may be sorting, few_shot"


MINE = """
from __future__ import annotations
from dataclasses import dataclass
from typing import Annotated
from pydantic import Field
from treereason.core import Score, UserError
from treereason.tasks.base import BaseTask

@dataclass(frozen=True)
class Mine(BaseTask):
    words: Annotated[int, Field(ge=1)] = 2
    must: str = ""
    scorer = "loud"

    def __post_init__(self):
        if self.must == "bad":
            raise UserError("task.must=bad: is bad")

def loud(thought):
    return 1.0
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "my task.py"
    path.write_text(MINE)
    return path


def test_a_users_class_is_built_with_its_options(mine: Path) -> None:
    task: Any = build_task({"name": str(mine), "words": 5})
    assert (task.words, task.limit) == (5, None)
    assert type(build_task({"name": f"{mine}:Mine"})) is type(task), "the file is executed once"


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"words": 0}, "task.words=0: should be greater"),
        ({"word": 1}, "task.word: "),
        ({"must": "bad"}, "task.must=bad: is bad"),
    ],
)
def test_parameters_of_a_users_task_are_checked(mine: Path, params: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        build_task({"name": str(mine), **params})
    assert str(caught.value).startswith(said)


def test_a_class_without_fields_needs_no_dataclass(tmp_path: Path) -> None:
    path = tmp_path / "search.py"
    path.write_text("class A:\n    async def run(self, tree): ...")
    assert type(build_search({"name": str(path)})).__name__ == "A"
