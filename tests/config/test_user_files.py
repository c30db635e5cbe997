"""A user's code by reference: imported once, with its neighbours, and its errors with their line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import ROOT
from treereason.config.user_files import absolute, is_reference, load
from treereason.core import UserError


@pytest.fixture(autouse=True)
def _own_search_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_what_is_a_reference() -> None:
    for name in ("./mine.py", "mine.py:Task", "/a b/mine.py:SCORERS.f", "package.module:Task"):
        assert is_reference(name)
    for name in ("sorting", "tree_of_thoughts", "", "mine.pyc"):
        assert not is_reference(name)


def test_references_do_not_depend_on_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("./my task.py:loud") == f"{tmp_path}/my task.py:loud"
    assert absolute("mine.py") == f"{tmp_path}/mine.py"
    assert absolute("package.module:name") == "package.module:name"


def test_a_file_imports_its_neighbours_now_and_later(tmp_path: Path) -> None:
    (tmp_path / "neighbour_now.py").write_text("VALUE = 3")
    (tmp_path / "neighbour_later.py").write_text("VALUE = 4")
    (tmp_path / "mine.py").write_text(
        "from neighbour_now import VALUE\ndef later():\n    import neighbour_later\n    return neighbour_later.VALUE"
    )
    assert load(f"{tmp_path}/mine.py:VALUE") == 3
    assert load(f"{tmp_path}/mine.py:later")() == 4


def test_a_neighbour_does_not_hide_an_installed_module(tmp_path: Path) -> None:
    (tmp_path / "queue.py").write_text("raise RuntimeError('the neighbour')")
    (tmp_path / "mine.py").write_text("x = 1")
    program = f"from treereason.config.user_files import load; load({str(tmp_path / 'mine.py')!r}); import queue"
    subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT)}, check=True)


def test_a_module_of_the_current_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package/scorers.py").write_text("TABLE = {'one': 1}")
    monkeypatch.chdir(tmp_path)
    assert load("my_package.scorers:TABLE.one") == 1


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1\ndef f(:", "mine.py does not import: line 2: SyntaxError: invalid syntax"),
        ("x = 1\nimport not_there_at_all", "mine.py does not import: line 2: ModuleNotFoundError: No module named"),
        ("import broken_neighbour", "line 1: SyntaxError: expected '(' (broken_neighbour.py, line 3)"),
        ("class E(BaseException): ...\nraise E('x')", "mine.py does not import: line 2: E: x"),
        ("raise SystemExit", "mine.py does not import: line 1: SystemExit"),
        ("near = 1\ndef far(): ...", "mine.py has no f; did you mean far?"),
        (None, "no such file: "),
    ],
)
def test_what_cannot_be_had_is_told_in_one_line(tmp_path: Path, source: str | None, said: str) -> None:
    (tmp_path / "broken_neighbour.py").write_text("\n\ndef f:")
    if source is not None:
        (tmp_path / "mine.py").write_text(source)
    with pytest.raises(UserError) as caught:
        load(f"{tmp_path}/mine.py:f")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_error_in_a_package_names_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_broken_module.py").write_text("x = 1\n{}['x']")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^my_broken_module does not import: line 2: KeyError: 'x'$"):
        load("my_broken_module:f")
