"""Cores that are idle are counted from what Linux tells."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from treereason.controller import free_cores as module
from treereason.controller.free_cores import free_cores

BEFORE = ["cpu0 100 0 0 500 0 0 0 0 0 0", "cpu1 100 0 0 500 0 0 0 0 0 0", "cpu2 9 9 9 9 9 9 9 9 9 9", "intr 1"]


def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, after: list[str]) -> int | None:
    stat = tmp_path / "stat"
    stat.write_text("\n".join(BEFORE))
    monkeypatch.setattr(module, "_STAT", stat)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(module, "sleep", lambda _: stat.write_text("\n".join(after)))
    return free_cores()


@pytest.mark.parametrize(
    ("first", "second", "free"),
    [
        ("100 0 0 510", "100 0 0 510", 2),
        ("110 0 0 500", "100 0 0 510", 1),
        ("110 0 0 500", "100 5 5 500", 0),
        ("109 0 0 501", "100 0 0 501", 1),
    ],
)
def test_what_other_processes_use_is_not_free(
    first: str, second: str, free: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    after = [f"cpu0 {first} 0 0 0 0 0 0", f"cpu1 {second} 0 0 0 0 0 0", BEFORE[2]]
    assert told(monkeypatch, tmp_path, after) == free


def test_a_system_that_does_not_tell_gives_no_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_STAT", tmp_path / "none")
    assert free_cores() is None
