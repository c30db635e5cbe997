"""The public face: what `import treereason` offers, and that each name says what it is."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_overloads

import pytest

import treereason as tr
from tests.fakes import ROOT
from treereason.config.registry import Kind, builtin
from treereason.core import Planned, Proposing, Splittable, Votable

PUBLIC = {
    "__version__",
    # a run
    "load", "run", "Run", "ProblemResult", "tasks", "search",
    # the forest alone
    "Engine", "Prompt", "Sampling", "Expansion", "Writing", "Resumption", "Decoded", "Cost", "Finish",
    # tasks, searches and scorers of one's own
    "Problem", "Thought", "Status", "Score", "oracle", "label_free", "judge", "derived", "register",
    "Task", "Tree", "Search", "UserError", "SpanGrammar",
}  # fmt: skip
TASKS = {"BaseTask", "Template", *(cls.__name__ for cls in builtin("task").values())}
SEARCHES = {cls.__name__ for cls in builtin("search").values()}
PACKAGES: list[tuple[Any, set[str]]] = [(tr, PUBLIC), (tr.tasks, TASKS), (tr.search, SEARCHES)]


@pytest.mark.parametrize(("package", "names"), PACKAGES)
def test_a_package_offers_these_names_and_no_others(package: Any, names: set[str]) -> None:
    assert set(dir(package)) == names - {"__version__"}
    for name in names:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'Engin'"):
        _ = package.Engin


def test_the_list_of_public_names_is_held() -> None:
    assert set(tr.__all__) == PUBLIC


@pytest.mark.parametrize(("package", "names"), PACKAGES)
def test_type_checkers_see_the_names_where_they_are_imported_from(package: Any, names: set[str]) -> None:
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    [block] = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    seen = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            assert alias.asname == alias.name, "mypy takes only `import X as X` for a public name"
            seen[alias.name] = f"treereason.{alias.name}" if node.module == "treereason" else str(node.module)
    assert seen.keys() <= names, "a name that is not offered"
    assert package is not tr or seen.keys() == names - {"__version__"}
    for name, module in seen.items():
        assert getattr(package, name) is getattr(importlib.import_module(module), name, sys.modules.get(module))


def test_everything_built_in_is_offered() -> None:
    packages: dict[Kind, Any] = {"task": tr.tasks, "search": tr.search}
    for kind, package in packages.items():
        for cls in builtin(kind).values():
            assert getattr(package, cls.__name__) is cls


def test_importing_treereason_imports_nothing_large() -> None:
    code = (
        "import sys, treereason as tr; tr.Prompt, tr.tasks, tr.search; "
        "print(*{'torch', 'transformers', 'pydantic', 'hydra', 'rich', 'numpy'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def documented() -> Iterator[tuple[str, Any]]:
    """Every public name, with the public methods of those that are classes."""
    for package, _ in PACKAGES:
        for name in dir(package):
            found = getattr(package, name)
            title = f"{package.__name__}.{name}"
            yield title, found
            for cls in reversed(found.__mro__) if isinstance(found, type) else ():
                if cls.__module__.startswith("treereason."):
                    for member, value in vars(cls).items():
                        if not member.startswith("_") and (inspect.isroutine(value) or isinstance(value, property)):
                            yield f"{title}.{member}", getattr(found, member)


def contract(title: str) -> str | None:
    """What the protocols say that a built-in task or search follows, those included that a task may leave out."""
    protocols = {
        "treereason.tasks": (tr.Task, Proposing, Votable, Splittable, Planned),
        "treereason.search": (tr.Search,),
    }.get(title.rsplit(".", 2)[0], ())
    name = title.rpartition(".")[2]
    return next((inspect.getdoc(getattr(each, name)) for each in protocols if hasattr(each, name)), None)


@pytest.mark.parametrize(("title", "found"), [pytest.param(*pair, id=pair[0]) for pair in documented()])
def test_a_public_name_says_what_it_is(title: str, found: Any) -> None:
    text = inspect.getdoc(found) or contract(title) or ""
    made_up = isinstance(found, type) and text.startswith(f"{found.__name__}(")  # dataclass writes one of its own
    assert len(text.split()) >= 3, f"{title} has no docstring"
    assert not made_up, f"{title} has no docstring"


@pytest.mark.parametrize("name", sorted(PUBLIC - {"__version__"}))
def test_fields_and_parameters_are_described(name: str) -> None:
    found = getattr(tr, name)
    if isinstance(found, type) and issubclass(found, Enum):
        parts = [member.value for member in found]
    elif dataclasses.is_dataclass(found):
        parts = [field.name for field in dataclasses.fields(found)]
    elif inspect.isfunction(found):
        signatures = map(inspect.signature, get_overloads(found) or [found])
        parts = [parameter for signature in signatures for parameter in signature.parameters]
    else:
        parts = []
    words = re.findall(r"\w+", inspect.getdoc(found) or "")
    assert [part for part in parts if part not in words] == [], f"the docstring of {name} does not say what these are"
