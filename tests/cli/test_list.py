"""`treereason list`: all that can be chosen with its options, for people, pipes and programs."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.cli.conftest import MINE
from tests.config.test_plugins import install, site
from tests.fakes import ROOT
from treereason.cli import entries as entries_file
from treereason.cli import list as list_file
from treereason.cli.help import choices, typed_option
from treereason.cli.main import main
from treereason.config.options import options
from treereason.config.registry import KINDS, builtin

__all__ = ["site"]  # a fixture
QUICK = """
import json, sys
from treereason.cli.main import main
code = main(["list"])
print(json.dumps({"code": code, "heavy": sorted({"torch", "transformers"} & set(sys.modules))}), file=sys.stderr)
"""


@pytest.fixture
def listed(capfd: pytest.CaptureFixture[str]) -> Any:
    """What `treereason list --json WORDS` tells."""

    def call(*words: str) -> list[dict[str, Any]]:
        assert main(["list", "--json", *words]) == 0
        found: list[dict[str, Any]] = json.loads(capfd.readouterr().out)
        return found

    return call


def test_a_pipe_gets_a_line_for_every_name_and_option_without_torch(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", QUICK], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert json.loads(done.stderr) == {"code": 0, "heavy": []}
    lines = done.stdout.splitlines()
    for kind in KINDS:
        for name, cls in builtin(kind).items():
            at = next(number for number, line in enumerate(lines) if line.startswith(f"{kind}={name} "))
            for option, line in zip(options(cls), lines[at + 1 :], strict=False):
                shown = typed_option(option._replace(name=f"{kind}.{option.name}"))
                assert line.startswith(f"  {shown} ")
                assert line.endswith(option.description)
    for start in (
        "scorer=sorting_errors ",
        "  of                                task=arithmetic, task=few_shot",
        "model=openai ",
    ):
        assert any(line.startswith(start) for line in lines), start


def test_json_holds_kinds_names_options_and_who_knows_a_scorer(listed: Any) -> None:
    found = listed()
    assert [entry["name"] for entry in found if entry["kind"] == "search"] == choices("search")
    assert {entry["kind"] for entry in found} == {"task", "search", "scorer", "model"}
    [beam] = listed("beam")
    assert [option["name"] for option in beam["options"]] == [
        f"search.{o.name}" for o in options(builtin("search")["beam"])
    ]
    assert beam["options"][0] == {"name": "search.n", "default": 16, "description": "branches of a step"}
    [sorting_errors] = listed("sorting_errors")
    assert sorting_errors["tasks"] == ["sorting"]
    assert sorting_errors["summary"].startswith("oracle: ")
    [judge] = listed("judge_value")
    assert judge["summary"].startswith("judge: ")
    assert [option["name"] for option in judge["options"]] == ["judge.samples"]


def test_words_narrow_the_list_by_kind_and_name(listed: Any) -> None:
    assert {entry["kind"] for entry in listed("searches")} == {"search"}
    assert {entry["kind"] for entry in listed("models", "mcts")} == {"model", "search"}
    assert [entry["name"] for entry in listed("recorded")] == ["recorded", "recorded"]
    assert [entry["kind"] for entry in listed("search=recorded", "scorer=self_certainty")] == ["search", "scorer"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("list mtcs", "list mtcs: there is nothing of this name; did you mean mcts?"),
        ("list search", ""),
        ("lits", "lits: no such command; did you mean list?"),
        ("search=beam list", "list: a command comes first: `treereason list`"),
        ("list --jsn", "list --jsn: no such flag; did you mean --json?"),
        ("list plugins=./nowhere.py", "plugins=./nowhere.py: no such file: "),
        ("list serch=./nowhere.py", "serch=./nowhere.py: serch is no kind of thing to list; did you mean search?"),
        ("list search=mtcs", "list search=mtcs: there is nothing of this name; did you mean mcts?"),
        ("list serch=mcts", "serch=mcts: serch is no kind of thing to list; did you mean search?"),
        ("list search=./nowhere.py", "search=./nowhere.py: no such file: "),
    ],
)
def test_a_mistyped_word_is_one_line(line: str, said: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == (2 if said else 0)
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == bool(said)


def test_help_of_the_command_and_of_the_program_tell_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--help"]) == 0
    assert capsys.readouterr().out == list_file.USAGE
    assert main(["--help"]) == 0
    assert "treereason list " in capsys.readouterr().out


def test_plugins_are_listed_with_their_package_and_a_broken_one_says_why(site: Path, listed: Any) -> None:
    install(
        site, "wide_pkg", "[treereason.searches]\nwide = wide_pkg:Wide\n[treereason.scorers]\nshort = wide_pkg:short\n"
    )
    install(site, "bad", "[treereason.tasks]\nbad = bad:Bad\n", "import nowhere_at_all")
    install(site, "ends", "[treereason.tasks]\nends = ends:E\n", "import os\nprint('[]')\nos._exit(7)")
    install(
        site,
        "loud",
        "[treereason.searches]\nbeam = loud:Wide\n[treereason.scorers]\nentropy = loud:Wide.run\n",
        "print('[]')\nclass Wide:\n async def run(s, t): ...",
    )
    by_package = {(entry["package"], entry["name"]): entry for entry in listed() if entry["package"]}
    wide = by_package["wide_pkg", "wide"]
    assert (wide["summary"], wide["problem"]) == ("As wide as it gets.", None)
    assert wide["options"] == [{"name": "search.width", "default": 3, "description": ""}]
    assert by_package["wide_pkg", "short"]["kind"] == "scorer"
    why = "task=bad:Bad: bad does not import: line 1: ModuleNotFoundError: No module named 'nowhere_at_all'"
    assert by_package["bad", "bad"]["problem"] == why
    assert by_package["ends", "ends"]["problem"] == "importing it ended Python with exit code 7"
    assert by_package["loud", "beam"]["problem"] == "its name is that of a built-in search: write search=loud:Wide"
    own = "its name is that of a built-in scorer: write scorer=loud:Wide.run"
    assert by_package["loud", "entropy"]["problem"] == own
    assert "wide_pkg" not in sys.modules


def test_a_plugin_that_hangs_is_left_behind(site: Path, listed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "slow_pkg", "[treereason.searches]\nslow = slow_pkg:Slow\n", "import time\ntime.sleep(600)")
    monkeypatch.setattr(entries_file, "LONGEST_IMPORT_S", 0.5)
    assert listed("slow")[0]["problem"] == "importing it took more than 0.5 s"


def test_what_a_module_on_the_line_registers_and_defines_is_listed(site: Path, listed: Any) -> None:
    (site / "mine.py").write_text("import treereason as tr\n" + MINE.replace("@dataclass", "@tr.register\n@dataclass"))
    [shout] = listed(f"plugins={site}/mine.py", "shout")
    assert (shout["kind"], shout["package"], shout["options"][0]["name"]) == ("task", f"{site}/mine.py", "task.words")
    [wide] = listed(f"search={site}/mine.py:Wide")
    assert wide["options"] == [{"name": "search.width", "default": 3, "description": ""}]


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_gets_tables_that_fit(
    width: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shown = io.StringIO()
    console = Console(width=width, force_terminal=True, color_system=None, file=shown)
    monkeypatch.setattr(list_file, "Console", lambda: console)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["list"]) == 0
    assert capfd.readouterr().out == ""
    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    headings = [line.strip() for line in lines if not line.startswith(" " * 20)]  # others are continued meanings
    assert [line for line in headings if line in list_file.TITLES.values()] == [*list_file.TITLES.values()]
    words = " ".join(shown.getvalue().split())
    assert "search.beam_width=4 next steps of each kept thought" in words
