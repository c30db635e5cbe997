"""A comparison as tables for a terminal: one per guide, so that an oracle's figures stand in no column with others."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from treereason.analysis.comparison import METHOD, Comparison, Mean
from treereason.text import printable

GUIDES = {"oracle": "oracle-guided", "judge": "judge-guided", "label-free": "label-free", "unmarked": "unmarked guide"}
"""What guided a search, as a column says it."""


def table(comparison: Comparison) -> RenderableType:
    """One table of the runs and one of their differences; text is made safe to show."""
    return Group(*_parts(comparison))


def _parts(comparison: Comparison) -> Iterator[RenderableType]:
    at = f"at {comparison.tokens:,.0f} tokens"
    for guide in dict.fromkeys(row.guide for row in comparison.rows):
        yield Text(GUIDES[guide], style="bold")
        runs = _table(["run", "search"], ["problems", "tokens", "solved", f"solved {at}", "mean score"])
        runs.add_column("of scorer")
        for row in (row for row in comparison.rows if row.guide == guide):
            started = row.run.started
            cells = [row.name, started.search, f"{row.problems:,}", f"{row.tokens:,.0f}"]
            cells += [*map(mean_text, (row.solved, row.equal_solved, row.score)), started.scorer]
            runs.add_row(*(Text(printable(cell)) for cell in cells))
        yield runs
        yield Text()
    if comparison.differences:
        found = _table(["difference", "guide"], ["pairs", "solved", f"solved {at}", "mean score"])
        for each in comparison.differences:
            means = (each.solved, each.equal_solved, each.score)
            cells = [f"{each.other} − {each.base}", each.guide, f"{each.paired:,}", *map(difference_text, means)]
            found.add_row(*(Text(printable(cell)) for cell in cells))
        yield found
        yield Text()
    told = [
        f"{each.other} − {each.base}: {each.unpaired:,} problems without a partner"
        for each in comparison.differences
        if each.unpaired
    ]
    for line in [*comparison.notes, *told]:
        yield Text(printable(line), style="yellow")
    yield Text(
        f"tokens: decoded a problem, on average. {at}: where a run took more, each of its problems is cut at one "
        f"number of tokens, so that the mean is the same. {METHOD}.",
        style="dim",
    )


def mean_text(mean: Mean | None) -> str:
    """0.950 [0.875, 1.000]; a hyphen for none."""
    if mean is None:
        return "-"
    ends = "" if mean.low is None or mean.high is None else f" [{mean.low:.3f}, {mean.high:.3f}]"
    return f"{mean.value:.3f}{ends}"


def difference_text(mean: Mean | None) -> str:
    """+0.050 [-0.025, +0.125]; a hyphen for none."""
    if mean is None:
        return "-"
    ends = "" if mean.low is None or mean.high is None else f" [{mean.low:+.3f}, {mean.high:+.3f}]"
    return f"{mean.value:+.3f}{ends}"


def _table(left: list[str], right: list[str]) -> Table:
    made = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim", border_style="dim")
    for name in left:
        made.add_column(name, overflow="fold")
    for name in right:
        made.add_column(name, justify="right")
    return made
