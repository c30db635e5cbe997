"""A command line whose runs are only noted down."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.config_store import ConfigStore

from treereason.config.registry import KINDS
from treereason.controller.run_spec import RunSpec

MINE = """
from dataclasses import dataclass
from treereason.core import Problem, Prompt

@dataclass(frozen=True)
class Shout:
    words: int = 2
    scorer = "loud"
    def problems(self, seed): return [Problem(str(i), i) for i in range(self.words)]
    def prompt(self, thought, style): return Prompt("hi")
    def parse(self, thought): return thought.text
    def solved(self, problem, answer): return True

@dataclass(frozen=True)
class Wide:
    width: int = 3
    async def run(self, tree): ...

def loud(thought):
    return 1.0
"""


class Runs(list[dict[str, Any]]):
    """What the command line handed over to be run; `ends` is called at the end of every run."""

    ends: Callable[[], object] = staticmethod(lambda: None)
    status = "done"
    failed = 0


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Runs:
    """A folder with some files to start in, and `run_experiment` replaced."""
    seen = Runs()

    def run_experiment(job: RunSpec, model: object, folder: Path, *_: object, **__: object) -> dict[str, Any]:
        assert model == "the model"
        seen.append({**vars(job), "in": folder})
        (folder / "results.jsonl").write_text("{}")
        seen.ends()
        return {"status": seen.status, "problems_done": 2, "failed": seen.failed}

    experiment = types.ModuleType("treereason.controller.experiment")
    experiment.run_experiment = run_experiment  # type: ignore[attr-defined]
    model = types.ModuleType("treereason.controller.model")
    model.load = lambda *_: "the model"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "treereason.controller.experiment", experiment)
    monkeypatch.setitem(sys.modules, "treereason.controller.model", model)
    # The store is the process's own: users' classes of one test are no choices of the next.
    for kind in KINDS:
        monkeypatch.setitem(ConfigStore.instance().repo, kind, {})
    # A module of another test's folder is none of this one's.
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "lists.csv").write_text('ID,Unsorted,Sorted\n0,"[2, 1]","[1, 2]"\n1,"[3, 1]","[1, 3]"\n')
    (tmp_path / "bad.csv").write_text('ID,Unsorted,Sorted\n0,"[2, 1]","[1, 2]"\n1,no list,"[1, 2]"\n')
    (tmp_path / "unnamed.csv").write_text('ID,Unsorted,Sorted\n0,"[2, 1]","[1, 2]"\n,"[3, 1]","[1, 3]"\n')
    (tmp_path / "bloom").mkdir()
    (tmp_path / "bloom/config.json").write_text('{"model_type": "bloom"}')
    (tmp_path / "broken.py").write_text("def f(:")
    (tmp_path / "conf/task").mkdir(parents=True)
    (tmp_path / "conf/task/bad.yaml").write_text("name: [")
    (tmp_path / "conf/task/bytes.yaml").write_bytes(b"\xff")
    (tmp_path / "conf/task/lost.yaml").write_text("defaults: [nowhere]")
    return seen
