"""Programs that use treereason: a notebook's cells, a script, and the engine alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import treereason as tr
from tests.fakes import ROOT
from treereason.engine.model.language_model import LanguageModel

NOTEBOOK = """
import asyncio
from dataclasses import dataclass
import treereason as tr

@dataclass(frozen=True)
class Shout(tr.tasks.BaseTask):
    scorer = "loud"
    templates = {"embedded": {"solve": tr.tasks.Template("sort {digits}=")}}
    def generate(self, rng):
        return {"digits": str(rng.randrange(10**6))}, ""

def loud(thought):
    return len(thought.text) + calls.append(thought.path)[-1]

class Calls(list):
    def append(self, path):
        super().append(path)
        return [0.5]

calls = Calls()

async def cell():
    return tr.run(Shout(limit=2), tr.search.BestOfN(n=2), tr.load("embedded"), baseline="none")

run = asyncio.run(cell())
print(run.failed, len(calls), [problem.score - len(problem.best.text) for problem in run.problems])
"""


def test_what_a_notebook_defines_needs_no_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-"],
        input=NOTEBOOK,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0 4 [0.5, 0.5]\n"


def test_the_engine_needs_no_more_than_a_model(model: LanguageModel) -> None:
    engine = tr.Engine(model)
    engine.submit(tr.Expansion("sort", (), tr.Prompt("sort 3120=", max_tokens=8), ((0,), (1,)), tr.Sampling(0.0)))
    decoded: list[tr.Decoded] = []
    while engine.busy:
        decoded += engine.step()[0]
    assert [child.text for child in decoded] == ["0123", "0123"]


def test_the_example_runs_as_a_script(tmp_path: Path) -> None:
    example = ROOT / "examples" / "from_python.py"
    assert len(example.read_text().splitlines()) <= 25
    done = subprocess.run(
        [sys.executable, example],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<Run best_of_n on sorting: 5 of 5 solved")
    assert list(tmp_path.iterdir()) == []
