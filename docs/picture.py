"""Draw the latest run of a folder, live and at its end: docs/picture.py RUN_FOLDER docs/live.svg docs/final.svg"""

from __future__ import annotations

import sys
from pathlib import Path

from treereason.display.picture import last_run, live_svg, report_svg
from treereason.record.journal import read_timed

if __name__ == "__main__":
    folder, live, final = map(Path, sys.argv[1:4])
    events = last_run(read_timed(folder / "journal.sqlite"))
    live.write_text(live_svg(events, width=100, height=30))
    final.write_text(report_svg(events, width=100))
