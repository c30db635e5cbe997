"""The command line: one clear line and exit code 2 for every mistake, before torch; runs and sweeps otherwise."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from tests.fakes import ROOT
from treereason.cli.main import main
from treereason.controller.run_spec import RunSpec
from treereason.core import UserError


class Runs(list[dict[str, Any]]):
    """What the command line handed over to be run; `ends` is called at the end of every run."""

    ends: Callable[[], object] = staticmethod(lambda: None)
    status = "done"


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Runs:
    """An empty folder to start in, and `run_experiment` replaced."""
    seen = Runs()

    def run_experiment(job: RunSpec, model: object, folder: Path, *_: object) -> dict[str, Any]:
        assert model == "the model"
        seen.append({**vars(job), "in": folder})
        (folder / "results.jsonl").write_text("{}")
        seen.ends()
        return {"status": seen.status}

    experiment = types.ModuleType("treereason.controller.experiment")
    experiment.run_experiment = run_experiment  # type: ignore[attr-defined]
    model = types.ModuleType("treereason.controller.model")
    model.load = lambda _: "the model"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "treereason.controller.experiment", experiment)
    monkeypatch.setitem(sys.modules, "treereason.controller.model", model)
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

MISTAKES: dict[str, tuple[str | tuple[str, ...], str]] = {
    "group": ("tsk=sorting", "tsk: no such option; did you mean task?"),
    "choice": ("task=sortin", "task=sortin: no such task; did you mean sorting?"),
    "key": ("task.limt=3", "task.limt: no such option with task=sorting; did you mean task.limit?"),
    "top key": ("temperatur=1", "temperatur: no such option; did you mean temperature?"),
    "engine key": ("engine.max_branchs=4", "did you mean engine.max_branches?"),
    "hydra key": ("hydra.rn.dir=x", "did you mean hydra.run.dir?"),
    "added key": ("+foo=1", "no option is called foo"),
    "added task key": ("+task.foo=1", "task.foo: sorting has no such option"),
    "k": ("search.k=0", "search.k=0: should be greater than or equal to 1"),
    "type": ("search.k=two", "search.k=two: should be a valid integer"),
    "boolean": ("search.k=true", "search.k=true: should not be true or false"),
    "temperature": ("temperature=-1", "temperature=-1: should be greater than or equal to 0"),
    "several": ("seed=0,1", "seed=0,1: several values: put -m in front"),
    "file": ("task.path=nowhere.csv", "no such file: nowhere.csv"),
    "row without ID": ("task.path=unnamed.csv", "task=sorting: the id of problem 2 is empty: give each an id of its"),
    "row": ("task.path=bad.csv", "bad.csv:3: not a list"),
    "scorer file": ("scorer=./nowhere.py:f", "scorer=./nowhere.py:f: no such file"),
    "scorer syntax": ("scorer=./broken.py:f", "broken.py does not import: line 1: SyntaxError"),
    "scorer name": ("scorer=./mine.py:lou", "has no lou; did you mean loud?"),
    "scorer of task": ("scorer=sorting_error", "did you mean sorting_errors?"),
    "class": ("task=./mine.py:Shot", "has no Shot; did you mean Shout?"),
    "model name": ("model=transformers", "model.name is missing: give model.name=VALUE"),
    "model folder": (("model=transformers", "model.name=./nowhere"), "model.name=./nowhere: no such folder"),
    "architecture": (("model=transformers", "model.name=./bloom"), "model.name=./bloom: bloom cannot be served"),
    "style": (("task=./mine.py", "model.style=fancy"), "model.style=fancy: should be 'embedded', 'chat' or 'plain'"),
    "word": ("sorting", "sorting: is no option: write OPTION=VALUE"),
    "no name": ("=3", "=3: is no option: write OPTION=VALUE"),
    "added without name": ("+=3", "+=3: is no option: write OPTION=VALUE"),
    "deleted without name": ("~", "~: is no option: write OPTION=VALUE"),
    "null folder": ("hydra.run.dir=null", "Error merging override hydra.run.dir=null"),
    "broken yaml": (("--config-dir=conf", "task=bad"), 'conf/task/bad.yaml", line 1, column 8'),
    "yaml that is no text": (("--config-dir=conf", "task=bytes"), "cannot be composed: 'utf-8' codec can't decode"),
    "yaml without its default": (("--config-dir=conf", "task=lost"), "In 'task/lost': Could not load 'task/nowhere'"),
    "flag": ("--mutlirun", "--mutlirun: no such flag; did you mean --multirun?"),
    "grammar": ("task.path=[a", "task.path=[a: cannot be read; quote a value"),
    "interpolation": ("task.path=${nowhere}", "task.path: Interpolation key 'nowhere' not found"),
    "folder": ("hydra.run.dir=lists.csv/x", "lists.csv is a file, not a folder"),
    "config dir": ("--config-dir=nowhere", "--config-dir nowhere: no such folder"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_and_code_2(case: str, runs: Runs, capfd: pytest.CaptureFixture[str]) -> None:
    arguments, said = MISTAKES[case]
    assert main([arguments] if isinstance(arguments, str) else arguments) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("treereason: error: ")
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert runs == []
    assert not Path("runs").exists()


PROBLEMS = "[Problem(str(i), i) for i in range(self.words)]"
# What is wrong with the task or search of mine.py: what stands there instead, and what is said.
BROKEN: dict[str, tuple[str, str, str]] = {
    "problems raise": (PROBLEMS, "{}['boom']", "mine.py:Shout: line 9: KeyError: 'boom'"),
    "problems exit": (PROBLEMS, "exit(3)", "mine.py:Shout: line 9: SystemExit: 3"),
    "problems are texts": (PROBLEMS, "['a']", "problems() holds str: return a list of Problem"),
    "problems are an iterator": (PROBLEMS, f"iter({PROBLEMS})", "problems() returned list_iterator: return a list"),
    "problems are none": (PROBLEMS, "None", "problems() returned NoneType: return a list of Problem"),
    "no problems": (PROBLEMS, "[]", "there are no problems in it; see task.path and task.limit"),
    "two of one name": ("str(i), i", "'same', i", "two problems are called same: give each an id of its own"),
    "ids are numbers": ("str(i), i", "i, i", "the id of a problem is 0: make it a string"),
    "an id is empty": ("str(i), i", "'', i", "the id of problem 1 is empty: give each an id of its own"),
    "prompt raises": ('Prompt("hi")', "1 / 0", "mine.py:Shout: line 10: ZeroDivisionError: division by zero"),
    "prompt is a text": ('Prompt("hi")', '"hi"', "prompt() returned str: return a Prompt or None"),
    "prompt is malformed": ('"hi")', '"hi", stop="END")', "line 10: ValueError: Prompt.stop='END': give a tuple of"),
    "no scorer": ('scorer = "loud"', "", "task Shout names no scorer: write scorer ="),
    "no solved": ("def solved", "def right", "mine.py:Shout: Shout has no solved: a task needs it"),
    "no parse": ("def parse", "def read", "mine.py:Shout: Shout has no parse: a task needs it"),
    "making it raises": ("    scorer =", "    def __post_init__(self): {}['x']\n    scorer =", "line 8: KeyError: 'x'"),
    "run is not async": ("async def run", "def run", "mine.py:Wide: its run is no coroutine: write `async def run("),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_task_or_search_is_one_line_before_a_model_loads(
    case: str, runs: Runs, capfd: pytest.CaptureFixture[str]
) -> None:
    right, wrong, said = BROKEN[case]
    assert right in MINE
    Path("mine.py").write_text(MINE.replace(right, wrong))
    assert main(["task=./mine.py:Shout", "search=./mine.py:Wide"]) == 2
    captured = capfd.readouterr()
    assert captured.err.startswith("treereason: error: ")
    assert said in captured.err
    assert (captured.out, captured.err.count("\n"), runs) == ("", 1, [])


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
    experiment: Any = sys.modules["treereason.controller.experiment"]
    experiment.load = lambda _: _raise(UserError("no such model"))()
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
    runs.ends, runs.status = (lambda: None), "interrupted"
    assert code("-m", "seed=0,1") == 130
    assert len(runs) == 4, "a sweep ends with its first failing run"


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


QUICK = """
import sys, json
sys.argv[0] = "treereason"
from treereason.cli.main import main
code = main(sys.argv[1:])
print(json.dumps({"code": code, "heavy": sorted({"torch", "transformers"} & set(sys.modules))}), file=sys.stderr)
"""


@pytest.mark.parametrize("argument", ["--help", "search.k=0", "task.path=nowhere.csv", "scorer=./nowhere.py:f"])
def test_help_and_mistakes_answer_without_torch(argument: str, tmp_path: Path) -> None:
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", QUICK, argument],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - start
    *_, last = done.stderr.splitlines()
    assert json.loads(last) == {"code": 0 if argument == "--help" else 2, "heavy": []}
    assert seconds < 5, "about 0.4 s on an idle machine"
    if argument == "--help":
        for part in ("task=sorting", "search.k=5", "runs/<date>_<time>_<random>", "-m search="):
            assert part in done.stdout


EARLY = """
import os, signal, sys
moment = sys.argv.pop()

class Interrupt:
    def find_spec(self, name, *_):
        if name == moment:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
from treereason.__main__ import console
console()
"""


@pytest.mark.parametrize(
    "module",
    ["treereason.cli.main", "hydra", "pydantic", "treereason.config.schema", "treereason.tasks.sorting", "torch"],
)
def test_ctrl_c_before_the_run_is_one_line_and_code_130_whatever_is_being_imported(module: str, tmp_path: Path) -> None:
    early = subprocess.run(
        [sys.executable, "-c", EARLY, "task.limit=1", module],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (early.returncode, early.stdout, early.stderr) == (130, "", "treereason: interrupted\n")


LATE = """
import os, signal, sys

class Late:
    def __del__(self, kill=os.kill, pid=os.getpid(), sigint=signal.SIGINT):
        kill(pid, sigint)

late = Late()  # lives until Python unloads its modules
sys.argv = ["treereason", "--version"]
from treereason.__main__ import console
console()
"""


def test_ctrl_c_after_the_last_line_does_not_change_the_exit_status(tmp_path: Path) -> None:
    late = subprocess.run(
        [sys.executable, "-c", LATE], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert (late.returncode, late.stderr) == (0, "")


def test_the_report_repeats_a_users_file_as_it_can_be_typed_again(runs: Runs) -> None:
    assert main(["task=./mine.py:Shout", "task.words=3", "search=./mine.py:Wide"]) == 0
    assert runs[0]["overrides"] == ("task=mine.py:Shout", "task.words=3", "search=mine.py:Wide")
