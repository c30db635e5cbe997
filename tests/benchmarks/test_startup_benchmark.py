"""The benchmark of start-up: what it starts comes to its first token, and its last line is JSON."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks import record, startup


def test_a_start_of_the_shipped_model_comes_to_its_first_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr(startup, "SIDES", {"shipped model": startup.SIDES["shipped model"]})
    startup.main(["--repeats", "1", "--record"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    row = result["rows"]["shipped model"]
    assert row["seconds"]["median"] > 0
    assert row["cpu_seconds"]["median"] > 0
    assert json.loads((tmp_path / "startup.jsonl").read_text()) == result


def test_a_start_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        startup.start(("-c", "raise SystemExit(2)", *startup.RUN), tmp_path)
