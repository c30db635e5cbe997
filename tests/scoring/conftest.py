"""A process that scores by what a thought says."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scoring.driving import LOADER, SCORERS
from treereason.scoring.process import Scoring


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    (tmp_path / "scorers_for_test.py").write_text(SCORERS)
    (tmp_path / "loader_for_test.py").write_text(LOADER)
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = importlib.util.spec_from_file_location("loader_for_test", tmp_path / "loader_for_test.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load  # type: ignore[no-any-return]


@pytest.fixture
def scoring(load: Callable[[str], Any]) -> Iterator[Scoring]:
    with Scoring("by_text", 1.0, load) as made:
        yield made
