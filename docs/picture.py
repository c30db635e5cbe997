"""Draw a run's live view and final report: python docs/picture.py RUN_FOLDER docs/live.svg docs/final.svg"""

from __future__ import annotations

import sys
from pathlib import Path

from treereason.display.picture import final_svg, live_svg
from treereason.record.journal import read_timed

if __name__ == "__main__":
    folder, live, final = map(Path, sys.argv[1:4])
    events = list(read_timed(folder / "journal.sqlite"))
    live.write_text(live_svg(events, width=100, height=30))
    final.write_text(final_svg(events, width=100))
