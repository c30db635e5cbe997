"""`--help` and mistakes answer without torch, and name every option."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Runs
from tests.fakes import ROOT
from treereason.cli import help as help_file
from treereason.cli.main import main
from treereason.config.options import options
from treereason.config.registry import KINDS, builtin
from treereason.config.schema import Config
from treereason.config.scorers import builtin as builtin_scorers


def test_help_names_every_option_with_its_default_and_meaning() -> None:
    text = help_file.help_text()
    words = " ".join(text.split())
    for kind in KINDS:
        for choice, cls in builtin(kind).items():
            assert f"  {kind}={choice} " in text
            for option in options(cls):
                assert f"{kind}.{option.name}={help_file._typed(option.default)} {option.description}" in words
    for choice in help_file.choices("model"):
        for option in help_file.model_options(choice):
            assert f"{option.name}={help_file._typed(option.default)} {option.description}" in words
    for option in options(Config):
        if option.name not in (*KINDS, "model"):
            assert f"  {option.name}={help_file._typed(option.default)}" in text
    assert max(map(len, text.splitlines())) <= 100


def test_help_lists_the_scorers_with_what_they_rest_on() -> None:
    text = help_file.help_text()
    assert "\n  scorer=likelihood                 label_free: Geometric mean" in text
    assert "\n  scorer=steps_hold                 oracle, task=few_shot: Share of steps" in text
    assert all(f"\n  scorer={name} " in text for name in builtin_scorers())


def test_the_default_choices_come_first() -> None:
    assert help_file.choices("task")[0] == "sorting"
    assert help_file.choices("search")[0] == "tree_of_thoughts"
    assert help_file.choices("model") == ["embedded", "embedded_spans", "gguf", "openai", "smollm2", "transformers"]


def test_help_shows_the_options_of_the_users_classes_on_the_line(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Path("mine.py").read_text().replace("words: int", "words: Annotated[int, Field(description='loud ones')]")
    Path("mine.py").write_text("from typing import Annotated\nfrom pydantic import Field\n" + text)
    assert main(["task=./mine.py:Shout", "search=sorting,./mine.py", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "  task=./mine.py:Shout\n    task.words=2                    loud ones\n" in shown
    assert "  search=./mine.py\n    search.width=3\n" in shown
    assert main(["--help", "task=./nowhere.py"]) == 2
    assert "task=./nowhere.py: no such file" in capsys.readouterr().err
    assert runs == []


QUICK = """
import sys, json
sys.argv[0] = "treereason"
from treereason.cli.main import main
code = main(sys.argv[1:])
print(json.dumps({"code": code, "heavy": sorted({"torch", "transformers"} & set(sys.modules))}), file=sys.stderr)
"""


@pytest.mark.parametrize("argument", ["--help", "search.k=0", "task.path=nowhere.csv", "scorer=./nowhere.py:f"])
def test_help_and_mistakes_answer_without_torch(argument: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", QUICK, argument],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    *_, last = done.stderr.splitlines()
    assert json.loads(last) == {"code": 0 if argument == "--help" else 2, "heavy": []}
    if argument == "--help":
        for part in ("task=sorting", "search.k=5", "runs/<date>_<time>_<random>", "-m search.k="):
            assert part in done.stdout
