"""Plug-ins by name: entry points of installed packages, and what `register` stands above."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

import treereason as tr
from treereason.config import plugins as plugins_file
from treereason.config.plugins import Plugin, plugin, plugins, trouble
from treereason.config.registry import builtin, find, import_plugins, names
from treereason.config.scorers import load_scorer, scorer_reference
from treereason.config.validate import build_search
from treereason.core import UserError
from treereason.tasks.sorting import Sorting

MODULE = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Wide:
    \"\"\"As wide as it gets.\"\"\"
    width: int = 3
    async def run(self, tree): ...

def short(thought):
    return -len(thought.text)
"""


def install(folder: Path, package: str, points: str, module: str = MODULE) -> None:
    """A package as pip leaves it in a folder: a module of its name, and the metadata of a distribution."""
    (folder / f"{package}.py").write_text(module)
    about = folder / f"{package}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(points)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the search path, for packages; what a test imports or registers is gone after it."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.setattr(plugins_file, "_registered", {})
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_an_entry_point_is_a_name_that_is_imported_when_it_is_asked_for(site: Path) -> None:
    points = "[treereason.searches]\nwide = wide_pkg:Wide\n[treereason.scorers]\nshort = wide_pkg:short\n"
    install(site, "wide_pkg", points)
    assert plugin("search", "wide") == Plugin("search", "wide", "wide_pkg:Wide", "wide_pkg")
    assert names("search") == [*builtin("search"), "wide"]
    assert "wide_pkg" not in sys.modules
    assert build_search({"name": "wide", "width": 4}).width == 4  # type: ignore[attr-defined]
    assert scorer_reference("short", Sorting()) == "wide_pkg:short"
    assert load_scorer("wide_pkg:short").__name__ == "short"
    with pytest.raises(UserError, match=r"search=wid: no such search; did you mean wide\?"):
        find("search", "wid")
    with pytest.raises(UserError, match=r"task Sorting has no such scorer; did you mean short\?"):
        scorer_reference("shor", Sorting())


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("import nowhere_at_all", "broken does not import: line 1: ModuleNotFoundError: No module named 'nowhere_at"),
        ("raise SystemExit", "broken does not import: line 1: SystemExit"),
        ("class Narrow: ...", "broken has no Wide; it may be Narrow"),
        ("class Wide: ...", "Wide does not have the methods of a search: run"),
    ],
)
def test_a_broken_package_is_one_line_that_names_it_and_breaks_nothing_else(site: Path, module: str, said: str) -> None:
    install(site, "broken", "[treereason.searches]\nwide = broken:Wide\n", module)
    with pytest.raises(UserError, match="search=wide of broken: ") as caught:
        find("search", "wide")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert find("search", "beam") is builtin("search")["beam"]


def test_half_a_package_brings_nothing_and_breaks_nothing(site: Path) -> None:
    (site / "half-1.0.dist-info").mkdir()
    (site / "half-1.0.dist-info/METADATA").write_bytes(b"\xff\xfe")
    install(site, "garbled", "[treereason.searches\nwide wide")
    install(site, "wide_pkg", "[treereason.searches]\nwide = wide_pkg:Wide\n")
    assert [one.name for one in plugins("search")] == ["wide"]


def test_what_is_built_in_keeps_its_name_and_two_plugins_of_one_name_both_lose_it(site: Path) -> None:
    install(site, "one", "[treereason.searches]\nbeam = one:Wide\nwide = one:Wide\na b = one:Wide\n")
    install(site, "two", "[treereason.searches]\nwide = two:Wide\n")
    assert find("search", "beam") is builtin("search")["beam"]
    with pytest.raises(UserError, match="search=wide: one:Wide of one and two:Wide of two all have this name: write"):
        find("search", "wide")
    assert find("search", "two:Wide").__module__ == "two"
    told = {(one.package, one.name): trouble(one, builtin("search")) for one in plugins("search")}
    assert told == {
        ("one", "beam"): "its name is that of a built-in search: write search=one:Wide",
        ("one", "wide"): "two:Wide of two has the same name: write search=one:Wide",
        ("two", "wide"): "one:Wide of one has the same name: write search=two:Wide",
        ("one", "a b"): "its name may hold letters, digits, _ and - only",
    }


REGISTERING = """
import treereason as tr

@tr.register
class WideAndDeepMCTS:
    async def run(self, tree): ...

@tr.register("brief")
def short(thought):
    return -len(thought.text)

@tr.register
def loud(thought):
    return 1.0
"""


def test_a_decorator_gives_a_name_to_what_a_module_defines(site: Path) -> None:
    (site / "mine.py").write_text(REGISTERING)
    (site / "package").mkdir()
    (site / "package/searches.py").write_text(
        "import treereason as tr\n@tr.register\nclass Deep:\n async def run(s, t): ..."
    )
    import_plugins([str(site / "mine.py"), "package.searches"])
    assert [one.name for one in plugins("search")] == ["deep", "wide_and_deep_mcts"]
    assert [one.name for one in plugins("scorer")] == ["brief", "loud"]
    assert find("search", "wide_and_deep_mcts").__name__ == "WideAndDeepMCTS"
    assert find("search", "deep").__module__ == "package.searches"
    assert scorer_reference("brief", Sorting()) == f"{site}/mine.py:short"
    with pytest.raises(UserError, match=r"plugins=no\.where: no\.where does not import: ModuleNotFoundError"):
        import_plugins(["no.where"])


def test_a_name_of_something_built_in_is_refused_where_it_is_imported(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site / "mine.py").write_text(REGISTERING.replace("tr.register\nclass", "tr.register('beam')\nclass"))
    with pytest.raises(UserError, match=r"search beam: its name is that of a built-in search: write search=/"):
        import_plugins([str(site / "mine.py")])
    monkeypatch.setattr(plugins_file, "_registered", {})
    (site / "ours.py").write_text("import treereason as tr\n@tr.register\ndef entropy(thought): return 1.0\n")
    with pytest.raises(UserError, match=r"scorer entropy: its name is that of a built-in scorer: write scorer=/"):
        import_plugins([str(site / "ours.py")])


@pytest.mark.usefixtures("site")
def test_register_takes_a_cell_that_is_run_again_and_refuses_what_no_process_could_import(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    for source in (REGISTERING, REGISTERING):
        exec(source, vars(main))
    assert plugin("scorer", "loud") == Plugin("scorer", "loud", "__main__:loud", "__main__")
    assert scorer_reference("loud", Sorting()) == "__main__:loud"
    with pytest.raises(UserError, match=r"register: loud is already the scorer __main__:loud: give another name"):
        tr.register("loud")(Sorting.parse)
    with pytest.raises(UserError, match="write it at the top of a module"):
        tr.register(lambda _: 0.0)
    with pytest.raises(UserError, match="Path has no problems and prompt"):
        tr.register(Path)
    with pytest.raises(UserError, match="a name may hold letters, digits, _ and - only"):
        tr.register("a b")(Sorting.parse)
