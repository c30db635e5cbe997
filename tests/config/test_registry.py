"""Built-in tasks and searches are the classes named after their files; a user's class comes by reference."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest

from treereason.config.registry import KINDS, PACKAGES, Kind, builtin, classes, find
from treereason.config.scorers import load_scorer, scorer_reference
from treereason.config.validate import build_task
from treereason.core import UserError
from treereason.tasks.sorting import Sorting

HELPERS = {"base", "examples"}
"""Files whose classes are bases of tasks."""


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_with_a_task_or_search_is_a_choice_of_its_name(kind: Kind) -> None:
    package = importlib.import_module(PACKAGES[kind])
    found = {
        module.name: classes(kind, importlib.import_module(f"{PACKAGES[kind]}.{module.name}"))
        for module in pkgutil.iter_modules(package.__path__)
        if not module.ispkg and module.name not in HELPERS
    }
    assert builtin(kind) == {name: own[0] for name, own in found.items() if own}, "name the class after its file"


def test_a_new_file_is_a_choice_without_a_list_to_edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ab_mcts.py").write_text("class ABMCTS:\n    async def run(self, tree): ...")
    (tmp_path / "rewards.py").write_text("def run(tree): ...\nclass Scale: ...")
    package = importlib.import_module(PACKAGES["search"])
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    builtin.cache_clear()
    try:
        assert set(builtin("search")) > {"ab_mcts", "best_of_n"}
        assert find("search", "ab_mcts").__name__ == "ABMCTS"
        assert not {"rewards", "sampling"} & set(builtin("search"))
    finally:
        builtin.cache_clear()


@pytest.mark.parametrize("choice", builtin("task"))
def test_every_built_in_task_names_a_scorer_that_loads(choice: str) -> None:
    reference = scorer_reference(None, build_task({"name": choice}))
    assert reference.startswith(f"treereason.tasks.{choice}:SCORERS.")
    assert callable(load_scorer(reference))


def test_a_class_of_an_installed_module_is_found_by_reference() -> None:
    assert find("task", "treereason.tasks.sorting:Sorting") is Sorting
    with pytest.raises(UserError, match=r"task=no\.such:Task: no\.such does not import: ModuleNotFoundError"):
        find("task", "no.such:Task")
    with pytest.raises(UserError, match="Sorting does not have the methods of a search: run"):
        find("search", "treereason.tasks.sorting:Sorting")
    with pytest.raises(UserError, match="of type dict: name a class with run"):
        find("search", "treereason.tasks.sorting:SCORERS")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1", "the file has no class with problems and prompt"),
        ("class A:\n def problems(self): ...\n def prompt(self): ...\nclass B(A): ...", "more than one class"),
        ("class A:\n n: int = 1\n def problems(self): ...\n def prompt(self): ...", "write @dataclass above"),
    ],
)
def test_files_without_one_usable_class(tmp_path: Path, source: str, said: str) -> None:
    path = tmp_path / "tasks.py"
    path.write_text(source)
    with pytest.raises(UserError, match=said):
        find("task", str(path))
