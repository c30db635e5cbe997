"""The command line: options reach the run, users' files are choices, sweeps run every combination."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from omegaconf import OmegaConf

from tests.cli.conftest import Runs
from treereason.cli.help import help_text
from treereason.cli.main import main
from treereason.cli.run import _loading
from treereason.config.schema import Config, parse
from treereason.controller.parts import SCORER_LOG
from treereason.core import UserError
from treereason.text import printable


def test_options_reach_the_run(runs: Runs) -> None:
    line = "task=sorting task.path=lists.csv task.limit=1 search=tree_of_thoughts search.k=7 search.b=2 seed=3"
    assert main([*line.split(), "hydra.run.dir=runs/a"]) == 0
    (run,) = runs
    assert run["in"] == Path("runs/a").resolve()
    assert (run["search"].k, run["search"].b, run["config"].seed) == (7, 2, 3)
    assert [problem.input for problem in run["problems"]] == [[2, 1]]
    assert run["scorer"] == "treereason.tasks.sorting:SCORERS.sorting_errors"
    assert "seed: 3" in Path("runs/a/.hydra/config.yaml").read_text()


def test_of_one_option_the_last_value_counts_and_earlier_ones_do_no_harm(runs: Runs) -> None:
    assert main(["hydra.run.dir=null", "seed=1", "hydra.run.dir=last", "seed=2"]) == 0
    (run,) = runs
    assert (run["in"].name, run["config"].seed, run["overrides"]) == ("last", 2, ("seed=2",))


@pytest.mark.parametrize(
    "line",
    [
        "task=document_merging search=best_of_n search.n=5",
        "task=few_shot search=self_consistency search.n=15 temperature=0.7",
        "model=transformers model.name=some/model task=sorting",
        "search=single_sample baseline=none display=none engine.kv_tokens=4096",
    ],
)
def test_lines_of_the_manual(line: str, runs: Runs) -> None:
    assert main(line.split()) == 0
    assert len(runs) == 1


def test_a_users_file_is_a_choice_with_options(runs: Runs) -> None:
    assert main(["task=./mine.py:Shout", "task.words=3", "search=./mine.py", "search.width=4"]) == 0
    (run,) = runs
    assert (run["task"].words, run["search"].width) == (3, 4)
    assert run["scorer"] == f"{Path('mine.py').resolve()}:loud"
    assert run["config"].task == {"name": f"{Path('mine.py').resolve()}:Shout", "words": 3}


def test_a_users_option_misspelt_gets_the_nearest(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["task=./mine.py", "task.word=3"]) == 2
    assert "did you mean task.words?" in capsys.readouterr().err
    assert runs == []


def test_sweeps_run_every_combination_and_mix_files_with_names(runs: Runs) -> None:
    line = "-m task=sorting,./mine.py search=tree_of_thoughts,./mine.py:Wide seed=0,1 hydra.sweep.dir=runs/s"
    assert main(line.split()) == 0
    seen = {(type(run["task"]).__name__, type(run["search"]).__name__, run["config"].seed) for run in runs}
    assert seen == {(t, s, n) for t in ("Sorting", "Shout") for s in ("TreeOfThoughts", "Wide") for n in (0, 1)}
    assert [run["in"].name for run in runs] == [str(i) for i in range(8)]
    assert Path("runs/s/7/.hydra/config.yaml").exists()


def test_a_sweep_is_checked_whole_before_its_first_run(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-m", "seed=0,1,-1"]) == 2
    assert "seed=-1: should be" in capsys.readouterr().err
    assert main(["-m", "task.path=lists.csv,bad.csv"]) == 2
    assert "bad.csv:3: not a list" in capsys.readouterr().err
    assert runs == []


def test_folders_of_two_starts_differ_even_within_a_second(runs: Runs) -> None:
    for _ in range(3):
        assert main(["task.limit=1"]) == 0
    assert len({run["in"] for run in runs}) == 3
    assert all(run["in"].parent == Path("runs").resolve() for run in runs)


def test_a_second_run_in_a_folder_says_so(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hydra.run.dir=again"]) == 0
    assert "earlier run" not in capsys.readouterr().err
    assert main(["hydra.run.dir=again"]) == 0
    assert "holds an earlier run; its results are replaced" in capsys.readouterr().err
    assert len(runs) == 2


def test_a_model_that_does_not_load_replaces_nothing_and_says_so_alone(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["hydra.run.dir=again"]) == 0
    capsys.readouterr()
    model: Any = sys.modules["treereason.controller.model"]
    model.load = lambda *_: _raise(UserError("no such model"))()
    assert main(["hydra.run.dir=again"]) == 2
    assert capsys.readouterr().err == "treereason: error: no such model\n"
    assert len(runs) == 1


def _raise(error: BaseException) -> Callable[[], object]:
    def end() -> object:
        raise error

    return end


def test_exit_codes(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    runs.ends = _raise(UserError("model x:\n no such folder"))
    assert code("-m", "seed=0,1") == 2
    assert "treereason: error: model x: no such folder\n" in capsys.readouterr().err
    runs.ends = _raise(KeyboardInterrupt())
    assert code("-m", "seed=0,1") == 130
    runs.ends = _raise(RuntimeError("a bug"))
    assert code("-m", "seed=0,1") == 1
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert "RuntimeError: a bug" in error
    for number, line in ((signal.SIGINT, "-m seed=0,1"), (signal.SIGTERM, "seed=0"), (signal.SIGHUP, "seed=0")):
        runs.ends, runs.status = partial(os.kill, os.getpid(), number), "interrupted"
        assert code(*line.split()) == 128 + number
    assert len(runs) == 6, "a sweep ends with its first failing run"


@pytest.mark.parametrize(("failed", "exit_code"), [(0, 0), (1, 0), (2, 3)])
def test_a_run_whose_every_problem_failed_has_an_exit_code_of_its_own(failed: int, exit_code: int, runs: Runs) -> None:
    runs.failed = failed
    assert code("seed=0") == exit_code


def code(*arguments: str) -> int:
    """The exit code, whether it is returned or raised."""
    try:
        return main(arguments)
    except SystemExit as exit_:
        return cast(int, exit_.code)


def test_version_and_configuration_are_shown(runs: Runs, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert main(["--cfg", "job", "task=./mine.py", "task.words=9"]) == 0
    shown = capfd.readouterr().out
    assert shown.startswith("treereason 0.")
    assert "words: 9" in shown
    assert runs == []


def test_the_report_repeats_a_users_file_as_it_can_be_typed_again(runs: Runs) -> None:
    assert main(["task=./mine.py:Shout", "task.words=3", "search=./mine.py:Wide"]) == 0
    assert runs[0]["overrides"] == ("task=mine.py:Shout", "task.words=3", "search=mine.py:Wide")


def test_the_saved_configuration_shows_every_option_with_its_value(runs: Runs) -> None:
    assert main(["hydra.run.dir=a", "task=./mine.py:Shout", "search=best_of_n", "seed=4"]) == 0
    saved = OmegaConf.to_container(OmegaConf.load("a/.hydra/config.yaml"))
    assert isinstance(saved, dict)
    assert saved["task"] == {"name": f"{Path('mine.py').resolve()}:Shout", "words": 2}
    assert saved["search"] == {"name": "best_of_n", "n": 5, "aggregate": "last"}
    assert saved == runs[0]["config"].model_dump()
    assert set(saved) == set(Config.model_fields)


def test_a_class_of_a_module_is_a_choice_with_options(runs: Runs) -> None:
    line = "task=mine:Shout task.words=3 search=treereason.search.best_of_n:BestOfN search.n=7 scorer=mine:loud"
    assert main(line.split()) == 0
    (run,) = runs
    assert (run["task"].words, run["search"].n, run["scorer"]) == (3, 7, "mine:loud")
    assert run["config"].task["name"] == "mine:Shout"
    assert run["overrides"] == tuple(line.split())


def test_a_task_of_a_module_names_a_scorer_of_it(runs: Runs) -> None:
    assert main(["task=mine:Shout"]) == 0
    assert runs[0]["scorer"] == "mine:loud"


def test_an_experiment_is_a_file_of_options_that_the_line_can_change(runs: Runs) -> None:
    assert main(["+experiment=quickstart"]) == 0
    assert main(["+experiment=quickstart", "search=best_of_n", "search.n=3", "task.limit=1"]) == 0
    voted, best = (run["config"] for run in runs)
    assert voted.search == {"name": "self_consistency", "n": 5, "vote": "majority"}
    assert (voted.task["name"], voted.task["limit"]) == ("few_shot", 20)
    assert (best.task["name"], best.task["limit"], best.search["n"]) == ("few_shot", 1, 3)


@pytest.mark.parametrize("name", ["[/x]", "[bold", "a\x1b]0;title\x07"])
def test_a_models_name_is_shown_as_it_is_while_it_loads(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # which makes rich take stderr for a terminal
    config = parse({"task": {}, "search": {}, "model": {"name": name}})
    with _loading(config):
        pass
    shown = capsys.readouterr().err
    assert printable(name) in shown
    assert "\x07" not in shown


def test_help_says_where_the_prints_of_a_scorer_go() -> None:
    assert f"{SCORER_LOG} (what a scorer prints)" in help_text()
