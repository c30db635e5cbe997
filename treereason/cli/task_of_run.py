"""The task of a recorded run, where it can be made again."""

from __future__ import annotations

from treereason.analysis.recorded_run import RecordedRun
from treereason.analysis.replay import Replay, replay
from treereason.cli.notes import note
from treereason.config.user_files import telling
from treereason.core import UserError


def with_task(run: RecordedRun) -> Replay | None:
    """The run with its task; None, and one line that says why, where that cannot be made again."""
    try:
        with telling():
            return replay(run)
    except UserError as error:
        note(f"the task of a run cannot be made again: {error}")
        return None
