"""The recipes of CONTRIBUTING work as they stand there."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.fakes import ROOT
from treereason.cli.main import main
from treereason.core import Finish, Problem, Thought

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
SEARCH, TEST, TASK = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_the_search_and_the_task_run_together(tmp_path: Path) -> None:
    (tmp_path / "widening.py").write_text(SEARCH)
    (tmp_path / "adding.py").write_text(TASK)
    chosen = [f"task={tmp_path}/adding.py", f"search={tmp_path}/widening.py", "task.limit=8", "search.n=3"]
    assert main([*chosen, "display=none", "engine.threads=1", f"hydra.run.dir={tmp_path}/run"]) == 0
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["problems_done"] == 8
    assert summary["failed"] == 0
    assert summary["solved"] > 4, "the shipped model can add"


def test_the_task_reads_a_sum_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adding", sys)  # so that the end of the test takes it away again
    (tmp_path / "adding.py").write_text(TASK)
    task = load("adding", tmp_path / "adding.py").Adding()
    wanted = {"=46\nA46": 46, "46": 46, "-5": -5, "1,024": 1024, "5.7": "5.7", "5e": None, "46 or 64": None, "": None}
    for text, answer in wanted.items():
        thought = Thought(Problem("0", {"left": 12, "right": 34}), (0,), text=text, finish=Finish.STOP)
        assert task.parse(thought) == answer
    assert task.parse(Thought(Problem("0", {}), (0,), text="A4", finish=Finish.LENGTH)) is None


def test_the_test_of_the_search_passes_and_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "treereason.search.widening"
    monkeypatch.setitem(sys.modules, name, sys)  # so that the end of the test takes it away again
    (tmp_path / "widening.py").write_text(SEARCH)
    (tmp_path / "test_widening.py").write_text(TEST)
    load(name, tmp_path / "widening.py")
    monkeypatch.setitem(sys.modules, "test_widening", sys)
    load("test_widening", tmp_path / "test_widening.py").test_widening_stops_at_the_first_final_score()
    assert "                break\n" in SEARCH
    (tmp_path / "widening.py").write_text(SEARCH.replace("                break\n", "                pass\n"))
    load(name, tmp_path / "widening.py")
    with pytest.raises(AssertionError):
        load("test_widening", tmp_path / "test_widening.py").test_widening_stops_at_the_first_final_score()


def test_the_modules_that_it_runs_exist() -> None:
    for module in re.findall(r"python -m ([\w.]+)", TEXT):
        assert importlib.util.find_spec(module), module


def test_the_names_of_the_glossary_are_names_in_the_code() -> None:
    sources = [path.read_text() for room in ("treereason", "kernels", "tasks") for path in (ROOT / room).rglob("*.py")]
    words = {word for source in sources for word in re.findall(r"\w+", source)}
    text = (ROOT / "docs/glossary.md").read_text()
    named = [word for code in re.findall(r"`([^`]+)`", text) for word in re.findall(r"[A-Za-z_]\w+", code)]
    assert [word for word in named if word not in words] == []
    entries = re.findall(r"^\| \*\*(\w[\w ]*)\*\*", text, re.MULTILINE)
    assert len(entries) == len(set(entries)) > 50
