"""Draw the latest run of a folder: docs/picture.py RUN_FOLDER docs/live.svg docs/report.svg [EVENT_NUMBER]"""

from __future__ import annotations

import sys
from pathlib import Path

from treereason.display.picture import live_svg, report_svg
from treereason.record.journal import NAME, last_run, read_timed

if __name__ == "__main__":
    folder, live, report = map(Path, sys.argv[1:4])
    events = last_run(read_timed(folder / NAME))
    live.write_text(live_svg(events, at=int(sys.argv[4]) if sys.argv[4:] else None))
    report.write_text(report_svg(events))
