"""The workers benchmark compares whole runs, and stops when their results differ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import workers


def faked(results: dict[int, str], seconds: dict[int, float]) -> object:
    def run(num_workers: int, limit: int, folder: Path) -> dict[str, float]:
        folder.mkdir()
        (folder / "results.jsonl").write_text(results[num_workers] * limit)
        took = {"seconds": seconds[num_workers], "with_start": seconds[num_workers] + 1}
        return took | ({"journal_share": 0.01, "record_share": 0.02} if num_workers == 1 else {})

    return run


def test_it_tells_how_much_faster_several_workers_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workers, "run", faked({1: "a", 2: "a"}, {1: 3.0, 2: 2.0}))
    workers.main(["--rounds", "2", "--limit", "5"])
    measured = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "1.5" in json.dumps(measured["faster"])
    assert measured["limit"] == 5


def test_other_results_are_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "run", faked({1: "a", 2: "b"}, {1: 3.0, 2: 2.0}))
    with pytest.raises(AssertionError, match="the results differ"):
        workers.main(["--rounds", "1"])
