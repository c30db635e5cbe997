"""`treereason reselect`: a recorded run with another vote, or with fewer of its samples."""

from __future__ import annotations

from collections.abc import Sequence

from treereason.analysis.derived_run import Change
from treereason.analysis.selection import VOTES
from treereason.cli.derive import derived, parsed
from treereason.core import UserError
from treereason.text import nearest

USAGE = """\
Usage: treereason reselect RUN [vote=majority|weighted|best|first] [n=N] [scorer=NAME] [--folder NEW] [--json]

The answers chosen anew from what was recorded; no model is loaded. vote: the most frequent answer; by votes that
count as much as their scores; the best scored; or the first. n: of the first N samples alone, for searches whose
samples are independent. scorer: scores for vote=weighted or best in the place of the recorded ones. --folder: where
the changed run is recorded, for compare, show and report.
"""


def main(arguments: Sequence[str]) -> int:
    """Print the run with its new answers; returns the exit code. Raises UserError."""
    flags, options = parsed("reselect", arguments, ["n", "scorer", "vote"])
    if flags.help:
        print(USAGE, end="")  # noqa: T201
        return 0
    if not options:
        raise UserError("reselect: say what to change: vote=majority|weighted|best|first, n=N or scorer=NAME")
    vote = options.get("vote", "best" if "scorer" in options else None)
    if vote is not None and vote not in VOTES:
        raise UserError(f"vote={vote}: no such vote; {nearest(vote, VOTES)}")
    given = options.get("n")
    if given is not None and not (given.isascii() and given.isdigit() and len(given) < 10):
        raise UserError(f"n={given}: give a whole number of samples")
    return derived("reselect", flags, options.get("scorer"), Change(vote, int(given) if given is not None else None))
