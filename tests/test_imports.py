"""Who may import whom, read off the files: imports only run down, so every part can be understood on its own."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import treereason

ROOT = Path(__file__).resolve().parent.parent
PLANNED = {f"treereason.kernels.{name}" for name in ("plan", "options", "layer", "norm_form")}
BASE = {
    "treereason",
    "treereason.core",
    "treereason.events",
    "treereason.jsonable",
    "treereason.profile",
    "treereason.text",
    "treereason.version",
}
KV = "treereason.engine.kv"
ATTENTION = "treereason.engine.attention"
MODEL = "treereason.engine.model"
SCHEDULE = "treereason.engine.schedule"
STEPS = "treereason.engine.steps"
SPECULATION = "treereason.engine.speculation"
SAMPLERS = {"treereason.kernels.gpu.sample", "treereason.kernels.cpu.sample"}

# Room of the program -> packages outside the standard library, and other rooms, that it may import.
# The longest name that fits a module is its room; a room may always import itself.
ALLOWED: dict[str, set[str]] = {
    "treereason.core": {"treereason.text"},
    "treereason.events": set(),
    "treereason.text": set(),
    "treereason.version": set(),
    "treereason.jsonable": set(),
    "treereason.profile": set(),
    "treereason.lazy": set(),
    "treereason.kernels": {"torch", "numpy"},
    "treereason.kernels.cpu": {*PLANNED, "torch", "numpy"},
    "treereason.kernels.gpu": {*PLANNED, "torch", "triton", "numpy"},
    "treereason.kernels.baselines": {*PLANNED, "treereason.kernels.gpu", "torch", "triton", "numpy"},
    "treereason.kernels.tools": {"treereason.kernels", "torch", "triton", "numpy"},
    "treereason.kernels.providers": {"treereason.kernels", "torch"},
    "treereason.search": {"treereason.core", "treereason.lazy", "pydantic"},
    "treereason.tasks": {"treereason.core", "treereason.lazy", "treereason.text", "pydantic", "yaml", "math_verify"},
    "treereason.scoring": {"treereason.core", "treereason.text", "safetensors", "torch", "transformers"},
    "treereason.record": {*BASE, "pydantic_core"},
    "treereason.display": {*BASE, "rich"},
    KV: {*BASE, "torch"},
    ATTENTION: {*BASE, KV, "treereason.kernels", "torch", "transformers", "numpy"},
    MODEL: {
        *BASE,
        KV,
        ATTENTION,
        "treereason.kernels",
        "torch",
        "transformers",
        "huggingface_hub",
        "tokenizers",
        "safetensors",
        "gguf",
        "numpy",
    },
    SCHEDULE: {*BASE, KV, MODEL},
    STEPS: {*BASE, KV, ATTENTION, MODEL, SCHEDULE, *SAMPLERS, "torch", "numpy"},
    SPECULATION: {*BASE, KV, MODEL, SCHEDULE, STEPS},
    "treereason.engine": {*BASE, KV, ATTENTION, MODEL, SCHEDULE, STEPS, SPECULATION},
    "treereason.remote": {"treereason.core", "treereason.events", "treereason.text", "httpx", "tenacity"},
    "treereason.embedded": set(),
    "treereason.embedded_spans": set(),
    "treereason.config": {*BASE, "pydantic"},
    "treereason.analysis": {
        *BASE,
        "treereason.config",
        "treereason.display",
        "treereason.record",
        "treereason.scoring",
        "numpy",
        "rich",
        "yaml",
        "pyarrow",
        "tensorboard",
    },
}
UNBOUND = {  # they wire the others together
    "treereason",  # its public names
    "treereason.api",
    "treereason.cli",
    "treereason.controller",
    "treereason.__main__",
    "treereason.conf",
}


def sources() -> dict[str, Path]:
    """Every module of the program by the name under which it is imported."""
    files = [(ROOT, path) for path in (ROOT / "treereason").rglob("*.py")]
    files += [(ROOT, path) for folder in ("kernels", "tasks", "conf") for path in (ROOT / folder).rglob("*.py")]
    names = {}
    for root, path in files:
        parts = list(path.relative_to(root).with_suffix("").parts)
        if parts[0] != "treereason":
            parts.insert(0, "treereason")
        if parts[-1] == "__init__":
            parts.pop()
        names[".".join(parts)] = path
    return names


SOURCES = sources()
DATA = {"conf", "embedded", "embedded_spans"}  # folders that import nothing and hold files for others
PUBLIC = treereason._MODULES


def imported(source: str, module: str) -> Iterator[str]:
    """Names of all modules that a file imports, anywhere in it; for a public name of the package, where that is."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".")[: -node.level]
                base = ".".join([*package, *([base] if base else [])])
            # `from treereason import core` imports a module, `from treereason.core import Task` does not.
            names = {alias.name for alias in node.names}
            public = names & PUBLIC.keys() if base == "treereason" else set()
            inner = {f"{base}.{name}" for name in names - public} & SOURCES.keys()
            yield from inner | {PUBLIC[name] for name in public}
            if len(inner) + len(public) < len(names):
                yield base


def room(module: str) -> str:
    """The most special entry of the rules that a module belongs to."""
    fitting = [name for name in (*ALLOWED, *UNBOUND) if module == name or module.startswith(f"{name}.")]
    return max(fitting, key=len)


def violations(module: str, source: str) -> list[str]:
    """What a file imports and may not."""
    own = room(module)
    found = []
    for name in imported(source, module):
        top = name.partition(".")[0]
        if name == "treereason.cli.main" and module != "treereason.__main__":
            found.append(f"{module} imports {name}: only __main__ imports the command line")
        elif own in UNBOUND or top in sys.stdlib_module_names or name == "treereason":
            continue
        elif top != "treereason":
            if top not in ALLOWED[own]:
                found.append(f"{module} imports {name}")
        elif room(name) != own and not any(
            name == ok or name.startswith(f"{ok}.") for ok in ALLOWED[own] - {"treereason"}
        ):
            found.append(f"{module} imports {name}")
    return found


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """Names that lead back to their first one, each importing the next; empty where there is no such way."""
    done: set[str] = set()
    way: list[str] = []

    def visit(name: str) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        way.append(name)
        for other in sorted(graph.get(name, ())):
            if found := visit(other):
                return found
        done.add(way.pop())
        return []

    return next((found for name in sorted(graph) if (found := visit(name))), [])


def arrows() -> dict[str, set[str]]:
    """Of each module, those of the program that it imports, anywhere in it.

    The package itself is left out: it imports nothing until a public name is asked for.
    """
    return {
        module: {name for name in imported(path.read_text(encoding="utf-8"), module) if name in SOURCES} - {module}
        for module, path in SOURCES.items()
        if module != "treereason"
    }


def rooms() -> dict[str, set[str]]:
    """Of each top-level folder or file of the program, the others that it imports. Folders of data are left out."""
    graph: dict[str, set[str]] = {}
    for module, others in arrows().items():
        own = module.split(".")[1]
        if own not in DATA:
            names = {name.split(".")[1] for name in others if name != "treereason"}
            graph.setdefault(own, set()).update(names - {own} - DATA)
    return graph


def floor(room: str, graph: dict[str, set[str]]) -> int:
    """0 for a room that imports no other, else one above the highest room that it imports."""
    return 1 + max((floor(other, graph) for other in graph[room]), default=-1)


def test_no_module_imports_itself_by_a_detour() -> None:
    assert cycle(arrows()) == []


def test_no_room_imports_itself_by_a_detour() -> None:
    assert cycle(rooms()) == []
    named: dict[str, set[str]] = {}  # the rooms of the rules above, some of which lie inside others
    for module, others in arrows().items():
        named.setdefault(room(module), set()).update({room(name) for name in others} - {room(module)})
    assert cycle(named) == []


def test_the_rooms_are_those_that_structure_md_lists_by_floor() -> None:
    graph = rooms()
    floors = {name: floor(name, graph) for name in graph}
    up = [(name, other) for name, others in graph.items() for other in others if floors[other]]
    figures = {
        "rooms": len(graph),
        "floors": 1 + max(floors.values()),
        "arrows between rooms": sum(map(len, graph.values())),
        "arrows that do not end on the ground floor": len(up),
        "circles of modules": len(cycle(arrows())),
    }
    for name, others in sorted(graph.items(), key=lambda item: floors[item[0]]):
        print(f"floor {floors[name]}: {name} -> {', '.join(sorted(others)) or 'nothing'}")  # noqa: T201
    for name, figure in figures.items():
        print(f"{name}: {figure}")  # noqa: T201
    text = (ROOT / "docs/structure.md").read_text(encoding="utf-8")
    assert {name: int(now) for name, now in re.findall(r"^\| ([\w ]+) \| \d+ \| (\d+) \|$", text, re.M)} == figures
    listed = re.findall(r"^\| (\d) \| `(?:treereason/)?(\w+)(?:/|\.py)` \|", text, re.M)
    assert {name: int(number) for number, name in listed} == floors


def test_a_cycle_would_be_found() -> None:
    assert cycle({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}) == []
    assert cycle({"a": {"b"}, "b": {"c", "d"}, "c": set(), "d": {"b"}}) == ["b", "d", "b"]


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_imports_only_run_down(module: str) -> None:
    assert violations(module, SOURCES[module].read_text(encoding="utf-8")) == []


def test_every_module_has_a_rule_of_its_own_room() -> None:
    loose = [name for name in SOURCES if room(name) == "treereason" and name != "treereason"]
    assert loose == [], "say in ALLOWED or UNBOUND what these may import"


def test_every_rule_is_about_modules_that_exist() -> None:
    used = {room(name) for name in SOURCES}
    assert [name for name in (*ALLOWED, *UNBOUND) if name not in used] == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("treereason.kernels.plan", "import transformers"),
        ("treereason.kernels.plan", "from treereason.core import Task"),
        ("treereason.kernels.plan", "from treereason.kernels.cpu.regions import Regions"),
        ("treereason.kernels.cpu.regions", "from treereason.kernels.gpu.work import Work"),
        ("treereason.kernels.cpu.torch_backend", "import triton"),
        ("treereason.kernels.gpu.work", "from treereason.kernels.baselines import sequence"),
        ("treereason.core", "from treereason import events"),
        ("treereason.core", "import pydantic"),
        ("treereason.search.best_of_n", "import torch"),
        ("treereason.search.best_of_n", "from treereason.tasks.sorting import Sorting"),
        ("treereason.search.best_of_n", "from treereason.tasks import sorting"),
        ("treereason.tasks.sorting", "def f():\n    import torch.nn"),
        ("treereason.tasks.sorting", "from ..search import best_of_n"),
        ("treereason.engine.schedule.scheduler", "from treereason.kernels.plan import Plan"),
        ("treereason.engine.steps.graph_steps", "from treereason.kernels.plan import Plan"),
        ("treereason.engine.schedule.branch", "from treereason.engine.engine import Engine"),
        ("treereason.engine.kv.forest", "from treereason.engine.attention.eager_step import EagerStep"),
        ("treereason.engine.engine", "import torch"),
        ("treereason.display.live", "from treereason.engine.engine import Engine"),
        ("treereason.remote.engine", "from treereason.engine.steps.sampler import branch_key"),
        ("treereason.record.journal", "from treereason.search import best_of_n"),
        ("treereason.controller.runner", "from treereason.cli.main import main"),
        ("treereason.tasks.sorting", "from treereason import Engine"),
    ],
)
def test_the_check_can_fail(module: str, line: str) -> None:
    assert violations(module, line) != []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("treereason.kernels.plan", "import torch, math"),
        ("treereason.kernels.plan", "from treereason.kernels import reference"),
        ("treereason.engine.attention.forest_plan", "from treereason.kernels.plan import Plan"),
        ("treereason.search.best_of_n", "from treereason.core import Thought"),
        ("treereason.display.live", "import rich.live"),
        ("treereason.remote.server", "import httpx"),
        ("treereason.__main__", "from treereason.cli.main import main"),
    ],
)
def test_the_check_can_pass(module: str, line: str) -> None:
    assert violations(module, line) == []
