"""results.jsonl and summary.json made anew from the journal of a run folder: python -m treereason.record.rebuild FOLDER

For a run that was killed: the journal has every event whose call returned, so it has every problem that was done.
"""

from __future__ import annotations

import sys
from pathlib import Path

from treereason.core import UserError
from treereason.record.folder import folder_lock
from treereason.record.journal import NAME as JOURNAL
from treereason.record.journal import last_run, read_timed
from treereason.record.results import Results
from treereason.record.summary import Summary


def rebuild(folder: Path) -> int:
    """Write both files of the latest run in `folder`; returns how many problems are done in it.

    Raises UserError when the folder has no journal, or no run in it, or another run is at work there.
    """
    events = last_run(read_timed(folder / JOURNAL))
    if not events:
        raise UserError(f"{folder / JOURNAL} holds no run")
    now = events[0][0]
    summary = Summary(clock=lambda: now)
    with folder_lock(folder), Results(folder) as results:
        for now, event in events:  # noqa: B007 - the clock reads it
            results(event)
            summary(event)
        results.close()
        summary.write(folder)
    return int(summary.as_dict()["problems_done"])


if __name__ == "__main__":
    try:
        if not sys.argv[1:]:
            raise UserError("rebuild: give the run folders whose results are to be made anew")
        for name in sys.argv[1:]:
            print(f"{name}: {rebuild(Path(name))} problems")  # noqa: T201
    except UserError as error:
        print(f"treereason: error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
