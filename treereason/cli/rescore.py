"""`treereason rescore`: a recorded run by another scorer."""

from __future__ import annotations

from collections.abc import Sequence

from treereason.analysis.derived_run import Change
from treereason.cli.derive import derived, parsed
from treereason.core import UserError

USAGE = """\
Usage: treereason rescore RUN scorer=NAME [--folder NEW] [--json]

The recorded answers and thoughts by another scorer, a name or ./FILE.py:NAME. No model is loaded, so a judge
cannot be asked. Which answer each problem has stays as it was: `treereason reselect RUN vote=best scorer=NAME`
chooses anew. --folder: where the run with these scores is recorded, for compare, show and report.
"""


def main(arguments: Sequence[str]) -> int:
    """Print the run with its new scores; returns the exit code. Raises UserError."""
    flags, options = parsed("rescore", arguments, ["scorer"])
    if flags.help:
        print(USAGE, end="")  # noqa: T201
        return 0
    if not options.get("scorer"):
        raise UserError("rescore: give scorer=NAME; `treereason list scorers` has the names")
    return derived("rescore", flags, options["scorer"], Change())
