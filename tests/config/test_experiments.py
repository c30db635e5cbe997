"""The experiments of conf/: each is found, composes against the classes that it names, and runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from tests.fakes import OWN_DATA, ROOT
from treereason.cli.help import files, help_text
from treereason.cli.main import main
from treereason.config.registry import builtin

FOLDER = ROOT / "conf/experiment"
NAMES = files("experiment")
PUBLISHED = {
    "got/sorting_032": "graph-of-thoughts/sorting_032.csv",
    "got/sorting_128": "graph-of-thoughts/sorting_032.csv",
    "got/document_merging": "graph-of-thoughts/documents.csv",
    "got/keyword": "graph-of-thoughts/countries.csv",
    "got/set_intersection": "graph-of-thoughts/set_intersection_032.csv",
    "deft/recorded": "deft/gardenToT.json",
}
"""Small files of ours in the format of those that an experiment asks for."""
WRITTEN = {
    "tot/game_of_24": ("24.csv", "Rank,Puzzles\n901,4 5 6 10\n902,1 2 3 4\n"),
    "tot/crosswords": (
        "mini.json",
        json.dumps([[[f"clue {i}" for i in range(10)], list("abcdefghijklmnopqrstuvwxy")]] * 2),
    ),
    "search_and_learn/dvts": (
        "math.jsonl",
        '{"problem": "What is 1+1?", "solution": "It is $\\\\boxed{2}$.", "answer": "2"}\n' * 2,
    ),
    "rebase/gsm8k": ("gsm8k.jsonl", '{"question": "What is 1+1?", "answer": "One and one.\\n#### 2"}\n' * 2),
}

OWN_STYLE = {"quickstart", "deft/recorded", "got/sorting_032", "got/document_merging"}
"""What the shipped model can do. To the prompts of the others it answers with nothing that is an answer."""
GENERATED = {"got/document_merging"}
"""The shipped model merges generated contracts only."""
NO_ANSWER = "no thought holds an answer"


def chosen(name: str) -> dict[str, str]:
    """Task and search of an experiment, as its file says."""
    defaults = OmegaConf.load(FOLDER / f"{name}.yaml").defaults
    return {key.removeprefix("override /"): value for entry in defaults for key, value in entry.items()}


def skip_unless_built_in(name: str) -> None:
    for kind, choice in chosen(name).items():
        if choice not in builtin("task" if kind == "task" else "search"):
            pytest.skip(f"{kind}={choice} is not there yet")


def test_help_names_the_experiments_in_folders_too() -> None:
    on_disk = {str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.yaml")}
    assert set(NAMES) == on_disk == {"quickstart", *PUBLISHED, *WRITTEN}
    text = help_text()
    assert all(name in text for name in NAMES)


@pytest.mark.parametrize("name", [*PUBLISHED, *WRITTEN])
def test_a_file_that_must_be_given_is_asked_for_with_its_source(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    skip_unless_built_in(name)
    assert main([f"+experiment={name}"]) == 2
    error = capfd.readouterr().err
    assert error.startswith("treereason: error: task.path is missing: give task.path=FILE, such as ")
    assert "https://" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", [*PUBLISHED, *WRITTEN])
def test_an_experiment_composes_with_nothing_but_its_file(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    skip_unless_built_in(name)
    assert main([f"+experiment={name}", "task.path=x", "--cfg", "job"]) == 0
    shown: Any = OmegaConf.create(capfd.readouterr().out)
    given: Any = OmegaConf.load(FOLDER / f"{name}.yaml")
    assert {kind: shown[kind].name for kind in ("task", "search")} == chosen(name)
    for option, value in given.get("search", {}).items():
        assert shown.search[option] == value


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_runs_two_problems_on_the_shipped_model(name: str, tmp_path: Path) -> None:
    skip_unless_built_in(name)
    options = [] if name in OWN_STYLE else ["model.style=plain", "budget.tokens=400"]
    if name in PUBLISHED:
        options.append(f"task.path={OWN_DATA / PUBLISHED[name] if name not in GENERATED else 'null'}")
    elif name in WRITTEN:
        file, text = WRITTEN[name]
        (tmp_path / file).write_text(text)
        options.append(f"task.path={tmp_path / file}")
    fast = ["task.limit=2", "display=none", "engine.threads=1", "baseline=none", f"hydra.run.dir={tmp_path}/run"]
    code = main([f"+experiment={name}", *options, *fast])
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["problems_done"] == len((tmp_path / "run/results.jsonl").read_text().splitlines()) > 0
    if name in OWN_STYLE:
        assert (code, summary["failed"]) == (0, 0)
    else:
        assert NO_ANSWER in (summary["first_error"] or NO_ANSWER)
