"""A user's files import their neighbours, whatever other folders hold; their classes reach any process."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import ROOT
from treereason.config.user_files import load
from treereason.core import Problem, Score, Thought
from treereason.scoring.process import Scoring


@pytest.fixture(autouse=True)
def _own_search_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two folders whose files have the same names, and import their own neighbours in every way."""
    for name in ("a.b (1)", "b"):
        folder = tmp_path / name
        (folder / "parts").mkdir(parents=True)
        (folder / "helpers.py").write_text(
            f"from dataclasses import dataclass\nWHERE = {name!r}\n@dataclass\nclass Answer:\n    value: int = 3\n"
        )
        (folder / "parts/__init__.py").write_text("")
        (folder / "parts/deep.py").write_text("import helpers\nfrom . import near\nWHERE = helpers.WHERE + near.MARK")
        (folder / "parts/near.py").write_text("MARK = '!'")
        (folder / "bare").mkdir()
        (folder / "bare/leaf.py").write_text(f"WHERE = {name!r}")
        (folder / "mine.py").write_text(
            "from dataclasses import dataclass\nimport helpers\nimport parts.deep\nimport parts.deep as second\n"
            "from parts import deep as third\nfrom helpers import Answer, WHERE\nimport bare.leaf\n"
            "ALL = {helpers.WHERE, WHERE, bare.leaf.WHERE}\n"
            "DEEP = {parts.deep.WHERE, second.WHERE, third.WHERE}\n"
            "def later():\n    from helpers import WHERE\n    return WHERE\n"
            "@dataclass\nclass Own:\n    answer: Answer\n"
            "def judge(answer):\n    return type(answer).__name__, answer.answer.value, later()\n"
        )
    return tmp_path


def test_files_of_one_name_in_two_folders_have_each_their_own_neighbours(folders: Path) -> None:
    for name in ("a.b (1)", "b", "a.b (1)"):
        module = load(str(folders / name / "mine.py"))
        assert (module.ALL, module.DEEP, module.later()) == ({name}, {f"{name}!"}, name)
    assert load(f"{folders}/b/mine.py:Own") is not load(f"{folders}/a.b (1)/mine.py:Own")


def test_classes_of_a_users_files_reach_a_process_that_has_only_a_file_of_another_folder(folders: Path) -> None:
    first: Any = load(f"{folders}/a.b (1)/mine.py")
    data = pickle.dumps(first.Own(first.Answer(7)))
    program = (
        "import pickle, sys\nfrom treereason.config.user_files import load\n"
        f"judge = load({f'{folders}/b/mine.py:judge'!r})\n"
        "print(judge(pickle.loads(sys.stdin.buffer.read())))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=data, env={"PYTHONPATH": str(ROOT)}, capture_output=True, check=True
    )
    assert done.stdout.decode() == "('Own', 7, 'b')\n"


def test_a_neighbour_goes_before_an_installed_module_in_its_own_folder_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "colorsys.py").write_text("OWN = True")
    (tmp_path / "mine.py").write_text("import colorsys\nOWN = hasattr(colorsys, 'OWN')")
    assert load(f"{tmp_path}/mine.py:OWN") is True
    import colorsys

    assert not hasattr(colorsys, "OWN")


@pytest.mark.parametrize("name", ["json", "dataclasses", "numpy"])
def test_a_file_that_has_the_name_of_a_module_imports_that_module(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.py").write_text(f"import {name}\nFOUND = {name}.__file__")
    assert load(f"{tmp_path}/{name}.py:FOUND") == importlib.import_module(name).__file__


def test_a_file_imports_from_the_folder_that_the_program_was_started_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project_of_mine/deep").mkdir(parents=True)
    (tmp_path / "project_of_mine/shared.py").write_text("X = 3")
    (tmp_path / "project_of_mine/deep/mine.py").write_text("from project_of_mine.shared import X")
    monkeypatch.chdir(tmp_path)
    assert load("project_of_mine/deep/mine.py:X") == 3


def test_what_is_loaded_already_from_the_same_file_is_not_loaded_again(tmp_path: Path) -> None:
    (tmp_path / "treereason").symlink_to(ROOT / "treereason")
    (tmp_path / "mine.py").write_text("from treereason.core import Thought\nimport treereason.text")
    from treereason.core import Thought

    assert load(f"{tmp_path}/mine.py:Thought") is Thought


def test_a_file_that_does_not_import_is_tried_again_once_it_is_mended(tmp_path: Path) -> None:
    from treereason.core import UserError

    (tmp_path / "mine.py").write_text("import helpers")
    (tmp_path / "helpers.py").write_text("1 / 0")
    with pytest.raises(UserError, match="line 1: ZeroDivisionError"):
        load(f"{tmp_path}/mine.py")
    (tmp_path / "helpers.py").write_text("X = 2")
    assert load(f"{tmp_path}/mine.py:helpers.X") == 2


def test_an_answer_of_a_users_class_is_scored_by_a_file_of_another_folder(folders: Path) -> None:
    (folders / "b/judge.py").write_text("import helpers\ndef judge(thought): return thought.answer.answer.value + 0.5")
    first: Any = load(f"{folders}/a.b (1)/mine.py")
    root = Thought(Problem("0", None))
    with Scoring(f"{folders}/b/judge.py:judge", 60.0, load) as scoring:
        scoring.submit(Thought(root.problem, parents=(root,), answer=first.Own(first.Answer(7))))
        results: list[Any] = []
        while len(scoring):
            results += scoring.poll(1.0)
    assert [score for _, score in results] == [Score(7.5)]
