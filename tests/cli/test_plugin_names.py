"""Plug-ins by name on the command line: chosen, set, swept, completed, saved and told of like what is built in."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import MINE, Runs
from tests.config.test_plugins import install, site
from treereason.cli.main import main

__all__ = ["site"]  # a fixture
WIDE = "[treereason.searches]\nwide = wide_pkg:Wide\n[treereason.scorers]\nshort = wide_pkg:short\n"
NAMED = "import treereason as tr\n" + MINE.replace("@dataclass", "@tr.register\n@dataclass").replace(
    "def loud", "@tr.register\ndef loud"
)


def test_an_entry_point_runs_under_its_name_with_its_options(runs: Runs, site: Path) -> None:
    install(site, "wide_pkg", WIDE)
    assert main(["search=wide", "search.width=5", "scorer=short"]) == 0
    assert main(["-m", "search=wide,beam", "seed=0,1"]) == 0
    assert [type(run["search"]).__name__ for run in runs] == ["Wide", "Wide", "Wide", "Beam", "Beam"]
    assert (runs[0]["search"].width, runs[0]["scorer"]) == (5, "wide_pkg:short")
    assert runs[0]["config"].search == {"name": "wide", "width": 5}
    assert "search=wide" in runs[0]["overrides"]


def test_a_file_chooses_a_plugin_and_the_line_sets_its_options(runs: Runs, site: Path) -> None:
    install(site, "wide_pkg", WIDE)
    Path("conf/experiment").mkdir()
    Path("conf/experiment/x.yaml").write_text("# @package _global_\ndefaults: [override /search: wide]\nseed: 3\n")
    assert main(["--config-dir=conf", "+experiment=x", "search.width=7"]) == 0
    assert (runs[0]["search"].width, runs[0]["config"].seed) == (7, 3)


@pytest.mark.usefixtures("site")
def test_modules_on_the_line_register_names_that_runs_understand(runs: Runs) -> None:
    Path("mine.py").write_text(NAMED)
    assert main(["plugins=./mine.py", "task=shout", "task.words=3", "search=wide", "scorer=loud"]) == 0
    assert main(["plugins=[./mine.py]", "task=shout"]) == 0
    assert [type(run["task"]).__name__ for run in runs] == ["Shout", "Shout"]
    assert runs[0]["config"].plugins == [str(Path("mine.py").resolve())]
    assert runs[0]["scorer"] == f"{Path('mine.py').resolve()}:loud"
    assert len(runs[0]["problems"]) == 3


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("search=wid", "search=wid: no such search; did you mean wide?"),
        ("search=bad", "search=bad of bad: bad does not import: line 1: KeyError: 'x'"),
        ("search=wide search.widht=3", "search.widht: no such option with search=wide; did you mean search.width?"),
        ("search=wide search.width=x", "search.width=x: should be a valid integer"),
        ("search=raises", "search=raises: "),
        ("scorer=shor", "task Sorting has no such scorer; did you mean short?"),
        ("plugins=./nowhere.py", "plugins=./nowhere.py: no such file: "),
        ("plugins=3", "plugins=3: should be a valid list"),
    ],
)
def test_a_mistake_with_a_plugin_is_one_line(
    line: str, said: str, runs: Runs, site: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    install(site, "wide_pkg", WIDE)
    install(site, "bad", "[treereason.searches]\nbad = bad:Bad\n", "{}['x']")
    raising = "class Raises:\n def __init__(self): {}['y']\n async def run(self, tree): ..."
    install(site, "raising", "[treereason.searches]\nraises = raising:Raises\n", raising)
    assert main(line.split()) == 2
    error = capfd.readouterr().err
    assert said in error
    assert (error.count("\n"), runs) == (1, [])


def test_a_broken_plugin_breaks_neither_help_nor_completion_nor_other_runs(
    runs: Runs, site: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, "bad", "[treereason.searches]\nbad = bad:Bad\n", "import os\nos._exit(9)")
    install(site, "wide_pkg", WIDE)
    assert main([]) == 0
    assert len(runs) == 1
    assert main(["--help"]) == 0
    text = capfd.readouterr().out
    assert "  search=bad                        of bad: add --help to it for its options" in text
    assert main(["--help", "search=wide"]) == 0
    assert "  search=wide                       As wide as it gets.\n    search.width=3\n" in capfd.readouterr().out
    for typed, offered in (("search=w", {"search=wide"}), ("search=wide search.w", {"search.width="})):
        monkeypatch.setenv("COMP_LINE", f"treereason {typed}")
        assert main(["-sc", "query=bash"]) == 0
        assert set(capfd.readouterr().out.split()) == offered
    assert "bad" not in sys.modules


@pytest.mark.usefixtures("runs", "site")
def test_help_and_completion_know_what_modules_on_the_line_register(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("mine.py").write_text(NAMED)
    assert main(["--help", "plugins=./mine.py", "task=shout"]) == 0
    assert "  task=shout\n    task.words=2\n" in capfd.readouterr().out
    monkeypatch.setenv("COMP_LINE", "treereason plugins=./mine.py task=s")
    assert main(["-sc", "query=bash"]) == 0
    assert set(capfd.readouterr().out.split()) == {"task=shout", "task=sorting", "task=set_intersection"}


def test_a_real_run_scores_by_a_plugin_in_a_process_of_its_own(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, "wide_pkg", WIDE)
    monkeypatch.setenv("PYTHONPATH", str(site))
    fast = ["display=none", "engine.threads=1", "baseline=none", f"hydra.run.dir={tmp_path}/run"]
    assert main(["scorer=short", "search=best_of_n", "search.n=2", "task.limit=1", "task.length=4", *fast]) == 0
    [result] = [json.loads(line) for line in (tmp_path / "run/results.jsonl").read_text().splitlines()]
    assert result["score"] < 0
    assert json.loads((tmp_path / "run/summary.json").read_text())["scorer"] == "short"
