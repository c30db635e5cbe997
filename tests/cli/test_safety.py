"""A configuration runs no code and moves no run, whether a file or the line asks for it."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.cli.conftest import Runs
from tests.fakes import ROOT, slow
from treereason.cli.main import main

TOUCH = "{_target_: subprocess.call, args: [touch, executed]}"
HOSTILE: dict[str, tuple[str, str]] = {
    "a callback": (f"hydra: {{callbacks: {{x: {TOUCH}}}}}", "hydra.callbacks.x._target_: a configuration cannot make"),
    "a callback in an interpolation": (
        f"""hydra: {{callbacks: {{x: "${{oc.create:'{TOUCH}'}}"}}}}""",
        "hydra.callbacks.x._target_: a configuration cannot make objects",
    ),
    "an interpolation of an interpolation": (
        f"""y: "${{oc.create:'{TOUCH}'}}"\nhydra: {{job_logging: {{y: "${{y}}"}}}}""",
        "_target_: a configuration cannot make objects",
    ),
    "a target deep inside": (f"hydra: {{sweeper: {{a: [[{{b: {TOUCH}}}]]}}}}", "hydra.sweeper.a"),
    "a target by interpolation": (
        "hydra: {launcher: {_target_: '${oc.env:TARGET,os.system}'}}",
        "hydra.launcher._target_: a configuration cannot make objects",
    ),
    "a task's target": ("task: {_target_: os.system}", "task._target_: a configuration cannot make objects"),
    "a handler": (
        "hydra: {job_logging: {handlers: {x: {class: subprocess.Popen, args: [touch, executed]}}}}",
        "hydra.job_logging.handlers.x.class=subprocess.Popen: only handlers of Python's logging",
    ),
    "a handler by an alias": (
        "hydra: {hydra_logging: {handlers: {x: {class: logging.os.system, command: touch executed}}}}",
        "hydra.hydra_logging.handlers.x.class=logging.os.system: only handlers",
    ),
    "a factory of a formatter": (
        'hydra: {job_logging: {formatters: {x: {"()": subprocess.call, args: [touch, executed]}}}}',
        "hydra.job_logging.formatters.x.(): a configuration cannot make objects",
    ),
    "a stream": (
        "hydra: {job_logging: {handlers: {x: {class: logging.StreamHandler, stream: ext://hostile.stream}}}}",
        "stream=ext://hostile.stream: only handlers",
    ),
    "an environment": ("hydra: {job: {env_set: {LD_PRELOAD: x.so}}}", "hydra.job.env_set: set environment variables"),
    "a sweep that nobody checked": (
        "hydra: {sweeper: {params: {seed: '0,-1'}}}",
        "hydra.sweeper.params: sweep with -m",
    ),
    "another folder": ("hydra: {job: {chdir: true}}", "hydra.job.chdir: a run stays in the folder"),
    "a loop": ('a: {b: "${a}"}', "a.b: Interpolation to parent node detected"),
    "a list of lists": ("a: " + "[" * 3000 + "]" * 3000, "hostile.yaml cannot be composed: maximum recursion"),
    "a nest of lists": ("a: " + "[" * 60 + "]" * 60, "nested more than 50 deep"),
}


SWEPT = ("a callback", "a sweep that nobody checked")
"""What a sweep is tried with always; every job of it is composed and checked as a run is."""


@pytest.mark.parametrize(
    ("case", "multirun"),
    [
        *((case, []) for case in HOSTILE),
        *((case, ["-m", "seed=0,1"]) for case in SWEPT),
        *slow(*((case, ["-m", "seed=0,1"]) for case in HOSTILE if case not in SWEPT)),
    ],
)
def test_a_configuration_file_runs_no_code(
    case: str, multirun: list[str], runs: Runs, capfd: pytest.CaptureFixture[str]
) -> None:
    text, said = HOSTILE[case]
    Path("hostile.py").write_text("open('executed', 'w')")
    Path("conf/experiment").mkdir()
    Path("conf/experiment/hostile.yaml").write_text(f"# @package _global_\n{text}")
    assert main(["--config-dir=conf", "+experiment=hostile", *multirun]) == 2
    error = capfd.readouterr().err
    assert said in error
    assert (error.count("\n"), runs, Path("executed").exists()) == (1, [], False)


OVERRIDES = (
    "+hydra.callbacks.x._target_=subprocess.call",
    "+hydra.callbacks.x={_target_: subprocess.call, args: [touch, executed]}",
    "hydra.launcher._target_=os.system",
    "hydra.sweeper._target_=builtins.exec",
    "++hydra.job_logging.handlers.x.class=subprocess.Popen",
    "+task.x={_target_: os.system}",
)
FLAGS = (["--cfg=all"], ["--info=config"], ["-m"])


@pytest.mark.parametrize(
    ("override", "flag"),
    [
        *((override, []) for override in OVERRIDES),
        *((OVERRIDES[2], flag) for flag in FLAGS),
        *slow(*((override, flag) for override in OVERRIDES if override != OVERRIDES[2] for flag in FLAGS)),
    ],
)
def test_an_override_runs_no_code(
    override: str, flag: list[str], runs: Runs, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*flag, override]) == 2
    error = capfd.readouterr().err
    assert re.search("cannot make objects|only handlers", error)
    assert (error.count("\n"), runs, Path("executed").exists()) == (1, [], False)


@pytest.mark.parametrize(
    "line", ["hydra/job_logging=default", "hydra/job_logging=stdout", "-m seed=1 hydra/launcher=basic"]
)
def test_what_hydra_offers_itself_is_served(line: str, runs: Runs) -> None:
    assert main(line.split()) == 0
    assert len(runs) == 1


@pytest.mark.usefixtures("runs")
def test_a_folder_is_what_it_was_where_it_was_typed(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["hydra.job.chdir=true", "task.path=lists.csv"]) == 2
    assert "hydra.job.chdir: a run stays in the folder that its paths were typed in" in capfd.readouterr().err
    assert main(["hydra.job.chdir=false", "task.path=lists.csv"]) == 0


def test_only_versions_of_hydra_whose_blocklist_holds_are_installed() -> None:
    """1.3.2 and 1.3.3 have none (CVE-2026-68508); a configuration empties that of 1.3.4 to 1.3.6 (CVE-2026-106439)."""
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    [hydra] = [need for text in needs if (need := Requirement(text)).name == "hydra-core"]
    assert not list(hydra.specifier.filter(["1.3.2", "1.3.3", "1.3.4", "1.3.5", "1.3.6"]))
    assert hydra.specifier.contains("1.3.7")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hydra: {job_logging: {root: {handlers: [nowhere]}}}", "hydra: Unable to configure root logger"),
        ("hydra: {sweeper: {max_batch_size: 0}}", "hydra.sweeper.max_batch_size=0: should be 1 or more"),
        ("hydra: {sweeper: {max_batch_size: -1}}", "hydra.sweeper.max_batch_size=-1: should be 1 or more"),
    ],
)
def test_an_option_of_hydra_that_it_stumbles_over_is_one_line(
    text: str, said: str, runs: Runs, capfd: pytest.CaptureFixture[str]
) -> None:
    override = "hydra/job_logging=default" if "logging" in text else "seed=0"
    Path("conf/experiment").mkdir()
    Path("conf/experiment/x.yaml").write_text(f"# @package _global_\n{text}")
    assert main(["--config-dir=conf", "+experiment=x", override]) == 2
    error = capfd.readouterr().err
    assert said in error
    assert (error.count("\n"), runs) == (1, [])


PATHS = ("pkg://nowhere_at_all", "file://nowhere", "nowhere")
MORE: tuple[list[str], ...] = (["-m", "seed=0,1"], ["task=sorting"], [])
QUICK = list(zip(PATHS, MORE, strict=True))


@pytest.mark.parametrize(
    ("path", "more"), [*QUICK, *slow(*(each for each in itertools.product(PATHS, MORE) if each not in QUICK))]
)
def test_a_search_path_that_is_not_there_is_refused(
    path: str, more: list[str], runs: Runs, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([f"hydra.searchpath=[{path}]", *more]) == 2
    error = capfd.readouterr().err
    assert "nowhere" in error
    assert "is not available" in error
    assert (error.count("\n"), runs) == (1, [])
