"""Pages say what the code is: the way of a step through the files, and the paths that they name."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import pytest

from tests.fakes import ROOT
from treereason.cli.main import main
from treereason.kernels.cpu import torch_backend

STRUCTURE = (ROOT / "docs/structure.md").read_text()
NUMBERS = {8: "eight", 9: "nine", 10: "ten", 11: "eleven", 12: "twelve"}
INVENTED = {"treereason/search/widening.py", "tasks/adding.py"}  # CONTRIBUTING.md's examples


class Broken(BaseException):
    """Raised in the arithmetic; a BaseException, so that no error message takes its place."""


def files_of(trace: TracebackType | None) -> list[str]:
    """The program's files in a traceback, outermost first, each once."""
    paths = [Path(frame.filename) for frame in traceback.extract_tb(trace)]
    own = [path.relative_to(ROOT).as_posix() for path in paths if path.is_relative_to(ROOT)]
    return [path for path in dict.fromkeys(own) if path.startswith(("treereason/", "kernels/", "tasks/"))]


def broken_in_a_run(function: Callable[..., object]) -> Callable[..., object]:
    """The function, which raises once the runner drives the engine: before, the model checks itself."""

    def call(*arguments: object) -> object:
        if any(frame.filename.endswith("controller/runner.py") for frame in traceback.extract_stack()):
            raise Broken
        return function(*arguments)

    return call


def test_the_way_to_the_arithmetic_is_the_one_of_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_partial", "_blocked"):
        monkeypatch.setattr(torch_backend, name, broken_in_a_run(getattr(torch_backend, name)))
    options = ["task.limit=1", "task.length=4", "display=none", "engine.cpu=torch", "model.fused=false"]
    with pytest.raises(Broken) as raised:
        main(["task=sorting", *options, f"hydra.run.dir={tmp_path}"])
    found = files_of(raised.tb)
    [(number, listed)] = re.findall(r"command line to the arithmetic in (\w+) files:\n((?:.+\n)+)", STRUCTURE)
    assert re.findall(r"`([\w/]+\.py)`", listed) == found
    assert number == NUMBERS[len(found)]


@pytest.mark.parametrize(
    "page", ["docs/structure.md", "docs/kernels.md", "README.md", "CONTRIBUTING.md", "kernels/README.md"]
)
def test_every_path_that_a_page_names_exists(page: str) -> None:
    text = re.sub(r"(?ms)^```.*?^```", "", (ROOT / page).read_text())
    named = set(
        re.findall(r"(?<![\w./-])[\w.-]+(?:/[\w.-]+)*\.(?:py|md|yaml)\b(?!:)", re.sub(r"https?://\S+", "", text))
    )
    named |= set(re.findall(r"`([\w.-]+/(?:[\w.-]+/?)*)`", text))
    visible = {path for path in named - INVENTED if not path.startswith(".")}  # others come from installing and running
    starts = [ROOT, ROOT / "treereason", (ROOT / page).parent]
    missing = [path for path in visible if not any((start / path).exists() for start in starts)]
    assert named, "the page names no path: how are paths written there?"
    assert sorted(missing) == []
