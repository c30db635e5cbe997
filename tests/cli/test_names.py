"""Names, paths and values keep their spelling, from what is typed to what is printed to be typed again."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.cli.conftest import MINE, Runs
from tests.display.scripted_run import run_done, run_started
from tests.fakes import slow
from treereason.cli import values
from treereason.cli.main import main
from treereason.core import UserError
from treereason.display import report

# What hydra's grammar, a shell, YAML, Python and printf have meanings for.
LETTERS = "abz09_.-~ =,:;'\"()[]{}<>|&*?!#%$@^+\\éßñ中🙂\u0301"
NAMES = st.text(alphabet=LETTERS, min_size=1, max_size=12).filter(
    lambda name: "${" not in name and ".py" not in name and ":" not in name
)


@given(st.text(alphabet=LETTERS + "\t", max_size=20))
@example("2024_11_05")
@example("null")
@example("a\\")
def test_what_is_written_for_hydra_is_read_by_it_unchanged(text: str) -> None:
    assert list(values.texts(values.parse(f"x={values.typed(text)}"))) == [text]
    assert list(values.texts(values.parse(f"x={values.quoted(text)}"))) == [text]
    assert list(values.texts(values.parse(f"x={values.quoted(text)},{values.quoted('b,c')}"))) == [text, "b,c"]


@pytest.mark.parametrize("name", ["mine (1),2 é e\u0301  twice", *slow("mine (1),2", "é e\u0301  twice", "~x")])
def test_a_file_of_any_name_is_a_task_whose_next_command_can_be_pasted(name: str, runs: Runs) -> None:
    _run_twice(name, runs)


@pytest.mark.slow
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES)
def test_files_of_random_names_are_tasks_whose_next_command_can_be_pasted(name: str, runs: Runs) -> None:
    _run_twice(name, runs)


def _run_twice(name: str, runs: Runs) -> None:
    """By hand, then by the command that the report shows."""
    file = f"./{name}.py"
    Path(file).write_text(MINE)
    runs.clear()
    assert main([f"task={values.quoted(file)}", f"scorer={values.quoted(file + ':loud')}"]) == 0
    assert main(_pasted(runs[0]["overrides"])) == 0
    first, second = runs
    assert type(first["task"]) is type(second["task"])
    assert first["scorer"] == second["scorer"] == f"{Path(file).resolve()}:loud"
    assert second["config"].seed == 8


def _pasted(overrides: tuple[str, ...]) -> list[str]:
    """The arguments of the next command, as a shell reads them."""
    found = report.report(run_done(), replace(run_started(1), overrides=overrides, program="treereason"))
    command = next(command for command, what in found.commands if what == "another seed")
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, text=True, check=True)
    return done.stdout.split("\0")[1:-1]


@pytest.mark.parametrize(
    "name", ["a=b,é (1).csv", "1e3", *slow("my lists (1).csv", "it's.csv", '"q".csv', "été.csv", "2024_11_05")]
)
def test_a_problem_file_may_have_any_name(name: str, runs: Runs) -> None:
    shutil.copy("lists.csv", name)
    assert main([f"task.path={values.typed(name)}"]) == 0
    assert main([f"task.path={values.quoted(name)}"]) == 0
    assert [run["task"].path for run in runs] == [name, name]


@pytest.mark.parametrize("name", ["./a=x,y (1).py", *slow("./mine (1).py", "./a=x,y.py")])
def test_a_sweep_takes_files_of_any_name(name: str, runs: Runs) -> None:
    Path(name).write_text(MINE)
    assert main(["-m", f'task="{name}:Shout",./mine.py', f'search="{name}:Wide"']) == 0
    assert [run["config"].task["name"] for run in runs] == [
        f"{Path(name).resolve()}:Shout",
        str(Path("mine.py").resolve()),
    ]


@pytest.mark.parametrize(
    "name", ["2024_11_05", *slow("yes", "1e3", "0x10", "007", "no", "true", "False", "1.50", "nan", "1_0")]
)
def test_a_folder_whose_name_looks_like_a_number_keeps_it(name: str, runs: Runs) -> None:
    assert main([f"hydra.run.dir={name}"]) == 0
    assert runs[0]["in"] == Path(name).resolve()
    assert main(["-m", f"hydra.sweep.dir={name}", "seed=0,1", f"hydra.sweep.subdir={name}${{hydra.job.num}}"]) == 0
    assert {run["in"].parent for run in runs[1:]} == {Path(name).resolve()}


@pytest.mark.parametrize("name", ["a=b,c", "$x %d (é)", "null", *slow("a b", "é e\u0301", "(x)", "it's")])
def test_a_run_folder_may_have_any_name(name: str, runs: Runs) -> None:
    assert main([f"hydra.run.dir={values.quoted(name)}"]) == 0
    assert runs[0]["in"] == Path(name).resolve()


def test_null_is_no_folder_and_may_be_the_name_of_one(runs: Runs, capfd: pytest.CaptureFixture[str]) -> None:
    for words in (["hydra.run.dir=null"], ["-m", "hydra.sweep.dir=NULL"]):
        assert main(words) == 2
        assert "=None: the name of a folder is text: put it in quotes\n" in capfd.readouterr().err
    assert main(["hydra.output_subdir=null", 'hydra.run.dir="null"']) == 0
    assert [run["in"] for run in runs] == [Path("null").resolve()]
    assert not Path("null/null").exists()


@pytest.mark.parametrize(
    ("option", "written"),
    [
        ("run.dir", "2024_11_05"),
        ("sweep.dir", "yes"),
        ("sweep.subdir", "null"),
        *slow(
            *itertools.product(
                ["run.dir", "sweep.dir", "sweep.subdir"],
                ["2024_11_05", "yes", "null", "1e3", "007", "12:30", "0x10", "~", "[a]", "{a: b}"],
            )
        ),
    ],
)
def test_a_folder_that_a_file_writes_as_a_number_is_refused(
    option: str, written: str, runs: Runs, capfd: pytest.CaptureFixture[str]
) -> None:
    group, name = option.split(".")
    Path("conf/experiment").mkdir()
    file = Path("conf/experiment/x.yaml")
    file.write_text(f"# @package _global_\nhydra: {{{group}: {{{name}: {written}}}}}")
    assert main(["--config-dir=conf", "+experiment=x", "-m", "seed=0,1"]) == 2
    error = capfd.readouterr().err
    assert f"hydra.{option}=" in error
    assert (error.count("\n"), runs) == (1, [])
    file.write_text(f'# @package _global_\nhydra: {{{group}: {{{name}: "{written}"}}}}')
    if written != "~":
        assert main(["--config-dir=conf", "+experiment=x", *["-m"] * (group == "sweep")]) == 0
        assert written in str(runs[0]["in"])


def test_a_folder_that_is_missing_is_asked_for(runs: Runs, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["hydra.run.dir=???"]) == 2
    assert capfd.readouterr().err == "treereason: error: hydra.run.dir is missing: give hydra.run.dir=FOLDER\n"
    assert (runs, Path("None").exists()) == ([], False)


@pytest.mark.parametrize("option", ["hydra.sweep.dir=a,b", "hydra.run.dir=1e3,2e3", "hydra/launcher=basic,other"])
def test_a_sweep_over_options_of_hydra_is_refused(option: str, runs: Runs, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["-m", option]) == 2
    assert capfd.readouterr().err == f"treereason: error: {option}: hydra's own options have one value in a sweep\n"
    assert runs == []


@pytest.mark.parametrize("function", ["sort", *slow("choice", "shuffle")])
def test_functions_of_a_sweep_keep_quotes_and_spellings(function: str, runs: Runs) -> None:
    names = ["été (1)", "a'b", 'a"b', "a,b)", "a\\"]
    if function != "choice":  # which shares its reading of names with the others
        names = ["a'b,c"]
    texts = ["1e3", "2024_11_05", "007"]
    swept = ",".join([*map(values.quoted, names), "b c"])
    assert main(["-m", "model=openai", "model.url=http://x/v1", f"model.name={function}({swept})"]) == 0
    assert {run["config"].model.name for run in runs} == {*names, "b c"}
    runs.clear()
    several = ",".join(texts[:2] if function == "sort" else texts)  # hydra sorts values of one type
    assert main(["-m", "model=openai", "model.url=http://x/v1", f"model.name={function}({several})"]) == 0
    assert {run["config"].model.name for run in runs} == set(several.split(","))


def test_files_of_any_name_are_choices(runs: Runs) -> None:
    Path("mine (1).py").write_text(MINE)
    shutil.copy("lists.csv", "é.csv")
    assert main(["-m", 'task=choice("./mine (1).py",./mine.py)']) == 0
    assert main(["-m", 'task.path=choice("é.csv",lists.csv)']) == 0
    assert [run["task"].path for run in runs[2:]] == ["é.csv", "lists.csv"]


def test_a_comma_in_a_name_without_quotes_is_explained(runs: Runs, capfd: pytest.CaptureFixture[str]) -> None:
    Path("mine,2.py").write_text(MINE)
    assert main(["task=./mine,2.py"]) == 2
    assert "several values: put -m in front to run each of them, or quote the value" in capfd.readouterr().err
    assert runs == []


def test_numbers_that_are_names_stay_names_and_other_numbers_stay_numbers(runs: Runs) -> None:
    Path("2024_11_05").mkdir()
    assert main(["model=openai", "model.name=2024_11_05", "model.url=http://x/v1", "search.k=1_0"]) == 0
    assert main(["-m", "model=openai", "model.name=1e3,2e3,null", "model.url=http://x/v1"]) == 0
    assert [run["config"].model.name for run in runs] == ["2024_11_05", "1e3", "2e3", "null"]
    assert runs[0]["search"].k == 10


def test_the_home_folder_is_meant_by_a_tilde_at_every_option(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home of me"
    (home / "conf/experiment").mkdir(parents=True)
    shutil.copy("mine.py", home)
    shutil.copy("lists.csv", home)
    (home / "conf/experiment/there.yaml").write_text("# @package _global_\nhydra: {run: {dir: ~/from file}}")
    monkeypatch.setenv("HOME", str(home))
    assert main(["task=~/mine.py", "search=~/mine.py:Wide", "scorer=~/mine.py:loud", "hydra.run.dir=~/r"]) == 0
    assert main(["task.path=~/lists.csv", "--config-dir=~/conf", "+experiment=there"]) == 0
    assert main(["-m", "hydra.sweep.dir=~/s", "seed=0,1"]) == 0
    assert main(["-m", "hydra.sweep.dir=elsewhere", "hydra.sweep.subdir=~/t", "seed=0"]) == 0
    assert [run["in"] for run in runs] == [home / "r", home / "from file", home / "s/0", home / "s/1", home / "t"]
    assert runs[0]["scorer"] == f"{home}/mine.py:loud"
    assert main(["model=transformers", "model.name=~/m"]) == 2
    assert f"model.name={home}/m: no such folder" in capfd.readouterr().err
    assert not Path("~").exists()
    assert main(["task=~nobody_at_all/mine.py"]) == 2


def test_a_flag_that_the_overrides_need_is_part_of_the_next_command(runs: Runs) -> None:
    Path("my conf/experiment").mkdir(parents=True)
    Path("my conf/experiment/mine.yaml").write_text("# @package _global_\nseed: 5")
    assert main(["--config-dir=my conf", "+experiment=mine"]) == 0
    assert runs[0]["program"].endswith(" '--config-dir=my conf'")
    assert main(["hydra.searchpath=[file://my conf]", "+experiment=mine"]) == 0
    assert runs[1]["program"].endswith(" 'hydra.searchpath=[file://my conf]'")


def test_a_value_that_only_needs_quotes_gets_them_and_a_malformed_one_does_not() -> None:
    assert values.parse("x=./été.py").value() == "./été.py"
    assert values.parse("x=~/a=b").value() == "~/a=b"
    for malformed in ("x=[a", "x='a", "x=a'b", "x=(a", "x=${"):
        with pytest.raises(UserError, match="cannot be read; quote a value"):
            values.parse(malformed)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("seed=range(0,0)", "seed=range(0,0): no value is left to run"),
        ("task=glob(zz*)", "task=glob(zz*): no value is left to run"),
        ("seed=range(0,1e9)", "seed=range(0,1e9): more than 10,000 values"),
        ("seed=shuffle(range(0,1e12))", "more than 10,000 values"),
        ("seed=range(0,10,0)", "more than 10,000 values"),
        ("seed=interval(0,1)", "give a list of values, or range(START,STOP,STEP)"),
        ("seed=range(0,1000) search.k=range(1,1000)", "more than 10,000 runs; split the sweep"),
        ("seed=" + "[" * 20_000, "20,005 characters, more than 10,000"),
        ("seed=" + "[" * 3_000, "cannot be read; quote a value"),
        ("seed=" + "9" * 5_000, "...: should be a valid integer"),
    ],
)
def test_a_sweep_of_nothing_or_without_end_is_one_line(
    line: str, said: str, runs: Runs, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["-m", *line.split()]) == 2
    error = capfd.readouterr().err
    assert said in error
    assert (error.count("\n"), runs) == (1, [])
