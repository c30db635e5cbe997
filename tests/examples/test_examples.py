"""The example files: small, and working as they are advertised; and what the base class does for them."""

import random
import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import ROOT
from treereason.cli.main import main
from treereason.config.scorers import load_scorer, scorer_reference
from treereason.config.validate import build_task
from treereason.core import Problem, Thought, UserError
from treereason.tasks import BaseTask, Template

EXAMPLES = ROOT / "examples"
TASK = EXAMPLES / "merge_lists.py"


def test_a_whole_task_with_its_scorer_takes_at_most_25_lines() -> None:
    assert len(TASK.read_text().splitlines()) <= 25
    assert len((EXAMPLES / "short_steps.py").read_text().splitlines()) <= 10


def test_the_task_asks_and_scores() -> None:
    task = build_task({"name": str(TASK), "limit": 3, "length": 5})
    problems = task.problems(0)
    assert problems == task.problems(0) != task.problems(1)
    prompt = task.prompt(Thought(problems[0]), "embedded")
    assert prompt is not None
    given = problems[0].input
    assert prompt.text == f"merge {given['left']}+{given['right']}="
    assert given["left"] == "".join(sorted(given["left"]))
    scorer = load_scorer(scorer_reference(None, task))
    perfect, short = (Thought(problems[0], (0,), text=text) for text in (problems[0].target, problems[0].target[1:]))
    assert task.solved(problems[0], task.parse(perfect))
    assert not task.solved(problems[0], task.parse(short))
    assert (scorer(perfect), scorer(short)) == (0, -1)
    assert task.prompt(perfect, "embedded") is None


def test_the_engine_alone_decodes_three_ends_of_five_starts(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "engine_alone.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    starts = [line for line in lines if not line.startswith(" ")]
    ends = [line for line in lines if line.startswith(" ")]
    assert (len(starts), len(ends)) == (5, 15)
    assert all("tokens reused" in line and "  0 tokens reused" not in line for line in ends)


@pytest.mark.parametrize(
    "arguments",
    [
        ["task=./examples/merge_lists.py", "task.limit=2", "search=best_of_n", "search.n=2"],
        [
            "task=few_shot",
            "task.limit=2",
            "search=best_of_n",
            "search.n=2",
            "scorer=./examples/short_steps.py:short_steps",
        ],
    ],
)
def test_the_commands_in_the_examples_run(
    tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    fast = ["baseline=none", "display=none", "engine.threads=1", f"hydra.run.dir={tmp_path}"]
    assert main([*arguments, *fast]) == 0
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 2


@dataclass(frozen=True)
class Least(BaseTask):
    """What BaseTask itself does."""


@dataclass(frozen=True)
class Echo(Least):
    templates = {"chat": {"solve": Template("say {word}", shared="Once: ")}}  # noqa: RUF012

    def generate(self, rng: random.Random) -> tuple[Any, Any]:
        return {"word": rng.randrange(1000)}, "x"


def test_defaults_of_a_task() -> None:
    with pytest.raises(UserError, match="Least generates no problems"):
        Least().problems(0)
    with pytest.raises(UserError, match=r"Least reads no files: leave task\.path=x\.csv out"):
        Least(path="x.csv").problems(0)
    with pytest.raises(UserError, match="Least has no prompts for models of style 'chat', only for: none"):
        Least().prompt(Thought(Problem("0", {})), "chat")
    task = Echo(limit=4)
    assert [problem.id for problem in task.problems(0)] == ["0", "1", "2", "3"]
    assert task.problems(0)[:2] == Echo(limit=2).problems(0)
    problem = Problem("0", {"word": "{braces}"})
    prompt = task.prompt(Thought(problem), "plain")
    assert prompt is not None
    assert prompt.shared + prompt.text == "Once: say {braces}"
    assert task.parse(Thought(problem, (0,), text=" hi \n")) == "hi"
    assert task.parse(Thought(problem, (0,), text=" ")) is None
    assert not task.solved(problem, None)
    assert task.solved(Problem("0", {}, "x"), "x")


def test_a_subclass_gets_the_same_generated_problems() -> None:
    class Renamed(Echo):
        """Only its prompts could differ."""

    @dataclass(frozen=True)
    class Other(Echo):
        def generate(self, rng: random.Random) -> tuple[Any, Any]:
            return super().generate(rng)

    assert Renamed(limit=3).problems(7) == Echo(limit=3).problems(7)
    assert Other(limit=3).problems(7) != Echo(limit=3).problems(7), "it has a generator of its own"
