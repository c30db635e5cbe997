"""Pictures drawn from the events of a run."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.display.scripted_run import Script, run_done, run_started, timed
from tests.fakes import ROOT
from treereason.display import picture
from treereason.record.journal import NAME, Journal, last_run


def test_a_picture_of_a_folder_that_was_used_again_shows_the_latest_run() -> None:
    again = [*Script(problems=3, seed=1).run(), replace(run_started(3), pass_name="greedy"), run_done(solved=1)]
    journal = timed([*Script(problems=12).run(), run_done(solved=12), *again])
    assert [event for _, event in last_run(journal)] == again


def test_a_picture_shows_the_run_after_the_event_asked_for_and_else_half_way() -> None:
    events = timed([*Script(problems=12).run(), run_done()])
    svg = picture.live_svg(events)
    assert svg == picture.live_svg(events, at=len(events) // 2)
    for word in ("decoding", "tokens/s", "verdict"):
        assert word in svg
    assert "waiting&#160;for&#160;the&#160;first&#160;problem" in picture.live_svg(events, at=0)
    with pytest.raises(ValueError, match=f"event {len(events)}: the run has {len(events)} events"):
        picture.live_svg(events, at=len(events))


def test_a_picture_of_the_report_needs_a_run_that_has_ended() -> None:
    events = timed([*Script(problems=12).run(), run_done()])
    assert "done:" in picture.report_svg(events)
    with pytest.raises(ValueError, match="RunDone"):
        picture.report_svg(events[:-1])


def test_the_command_of_the_readme_draws_both_pictures_from_a_run_folder(tmp_path: Path) -> None:
    with Journal(tmp_path / NAME) as journal:
        for event in (*Script(problems=3).run(), run_done(solved=1)):
            journal(event)
    live, report = tmp_path / "live.svg", tmp_path / "report.svg"
    command = [sys.executable, "docs/picture.py", str(tmp_path), str(live), str(report), "9"]
    subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, check=True)
    assert "decoding" in live.read_text()
    assert "done:" in report.read_text()
