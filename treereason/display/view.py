"""One frame of the live display, drawn from a snapshot; its height and width never exceed what is given."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from treereason.core import Status
from treereason.display import formatting
from treereason.display.base import STOPPING
from treereason.display.state import Snapshot
from treereason.display.viewport import Row, Viewport

OTHER_ROWS = 9
FAINT = "dim"
MIN_WIDTH = 24
SCORE_WIDTH = 7
MARKS = {
    Status.DECODING: ("○", "cyan"),
    Status.DECODED: ("●", "cyan"),
    Status.KEPT: ("●", "green"),
    Status.PRUNED: ("·", FAINT),
    Status.FAILED: ("✗", "red"),
}


def rows_for_thoughts(height: int) -> int:
    """Rows free for thoughts in a terminal of `height` rows."""
    return max(0, height - OTHER_ROWS)


def max_depth(width: int) -> int:
    """Levels of thoughts that fit a terminal of `width` columns and leave half of it to the text."""
    return max(3, width // 5)


def frame(snapshot: Snapshot, width: int, height: int, min_rows: int = 0, stopping: bool = False) -> RenderableType:
    """The live view, at most `width` columns and `height` - 1 rows.

    min_rows: rows that the thoughts take at least, so that the frame does not jump. stopping: whether Ctrl-C has come.
    """
    header = _header(snapshot, width, stopping)
    if width < MIN_WIDTH or height < OTHER_ROWS + 3:
        return Group(*header[: max(1, height - 1)])
    rows = min(max(min_rows, snapshot.viewport.height), rows_for_thoughts(height))
    return Group(*header, _thoughts(snapshot, width, rows), *_engine(snapshot, width))


def _header(snapshot: Snapshot, width: int, stopping: bool) -> list[Text]:
    started = snapshot.started
    if started is None:
        return [fit(Text("treereason", style="bold"), width)]
    name = "greedy baseline" if started.pass_name == "greedy" else started.search
    title = Text.assemble(("treereason  ", "bold"), (name, "bold cyan"), f" on {started.task}")
    solved = Text("no problem done yet", style=FAINT)
    if snapshot.num_done:
        solved = Text.assemble((f"{snapshot.num_solved:,}", "bold green"), f" of {snapshot.num_done:,} solved")
    if snapshot.num_failed:
        solved.append(f"   {snapshot.num_failed:,} failed", style="red")
    if snapshot.mean_score is not None:
        solved.append(f"   mean score {formatting.score(snapshot.mean_score)}")
        solved.append(f"   best {formatting.score(snapshot.best_score)}", style=FAINT)
    return [
        spread(title, Text(f"{started.model}   seed {started.seed}", style=FAINT), width),
        _progress(snapshot, width),
        fit(Text(STOPPING, style="bold yellow") if stopping else solved, width),
    ]


def _progress(snapshot: Snapshot, width: int) -> Text:
    done, total, left = snapshot.num_done, snapshot.num_problems, snapshot.seconds_left
    times = f"{formatting.clock(snapshot.seconds)}"
    if left is not None and done < total:
        times += f"   {formatting.clock(left)} left"
    figure = Text.assemble((f"{done:,}", "bold"), f" of {total:,}", (f"   {times}", FAINT))
    usual_width = 2 * len(f"{total:,}") + len("   of    00:00   00:00 left")
    figure.pad_left(max(2, usual_width - figure.cell_len))
    share = done / total if total else 0.0
    return fit(Text.assemble(bar(max(4, width - figure.cell_len), share, style="green"), figure), width)


def _thoughts(snapshot: Snapshot, width: int, rows: int) -> Panel:
    lines = _thought_lines(snapshot.viewport, width - 4)[:rows]
    lines += [Text()] * (rows - len(lines))
    name = f"problem {snapshot.problem}" if snapshot.problem else "waiting for the first problem"
    title = Text.assemble((name, "not dim bold"))
    if (done := snapshot.problem_done) is not None:
        verdict = ("solved", "not dim green") if done.solved else ("not solved", "not dim yellow")
        verdict = ("failed", "not dim red") if done.status == "failed" else verdict
        title = Text.assemble(title, "  ", verdict)
    return Panel(
        Group(*lines) if lines else Text(),
        box=box.ROUNDED,
        border_style=FAINT,
        title=title,
        title_align="left",
        subtitle=Text(formatting.count(snapshot.num_thoughts, "thought"), style=FAINT),
        subtitle_align="right",
        width=width,
        height=rows + 2,
    )


def _thought_lines(viewport: Viewport, width: int) -> list[Text]:
    lines = [spread(*_row(row), width) for row in viewport.rows]
    if viewport.levels_above:
        levels = formatting.count(viewport.levels_above, "level")
        lines.insert(0, Text(f"… {levels} above", style=FAINT))
    if viewport.num_more > 0:
        lines.append(Text(f"… {viewport.num_more:,} more", style=FAINT))
    return lines


def _row(row: Row) -> tuple[Text, Text]:
    """The left and the right end of one row."""
    line = Text.assemble((row.guides, FAINT))
    right = Text.assemble(("probing " if row.probed else "", "cyan"))
    if row.is_root:
        return line.append(row.text or "problem", style="bold"), right
    mark, style = MARKS[row.status]
    if row.is_best:
        mark = "◆"
    line.append(f"{mark} ", style="bold green" if row.is_best else style)
    if row.num_parents > 1:
        line.append(f"joins {row.num_parents}  ", style="magenta")
    if row.status is Status.FAILED:
        line.append(row.error or "failed", style="red")
    elif row.status is Status.DECODING and not row.text:
        line.append(f"{row.num_thoughts:,} decoding" if row.num_thoughts > 1 else "decoding", style=FAINT)
    else:
        line.append(row.text or "(empty)", style=_text_style(row))
        if row.seen:
            line.append(f"  saw {' … '.join(row.seen)}", style=FAINT)
    right.append(f"{row.num_hidden:,} more " if row.num_hidden else "", style=FAINT)
    score = formatting.score(row.score) if row.score is not None else ""
    return line, right.append(score.rjust(SCORE_WIDTH), style=_score_style(row))


def _text_style(row: Row) -> str:
    if row.is_best:
        return "bold green"
    if row.status is Status.PRUNED:
        return FAINT
    return "green" if row.on_best_path or row.status is Status.KEPT else "default"


def _score_style(row: Row) -> str:
    if row.is_best:
        return "bold green"
    return {Status.KEPT: "green", Status.PRUNED: FAINT}.get(row.status, "default")


def _engine(snapshot: Snapshot, width: int) -> list[Text]:
    branches = Text.assemble(
        ("branches  ", FAINT),
        (f"{snapshot.num_live:,}", "bold cyan"),
        " live",
        f"   {snapshot.num_waiting:,} waiting",
        (f"   {snapshot.num_pruned:,} pruned", FAINT),
    )
    if snapshot.num_thoughts_failed:
        branches.append(f"   {snapshot.num_thoughts_failed:,} failed", style="red")
    pace = Text.assemble((f"{snapshot.tokens_per_second:,.0f}", "bold"), " tokens/s")
    shared = Text.assemble(("shared    ", FAINT), f"{snapshot.tokens_reused:,} prompt tokens reused")
    ratio = snapshot.kv_read_ratio
    saved = Text.assemble((f"{ratio:.1f}x", "bold green"), " fewer KV reads") if ratio else Text()
    return [spread(branches, pace, width), _kv(snapshot, width), spread(shared, saved, width)]


def _kv(snapshot: Snapshot, width: int) -> Text:
    label = Text("KV cache  ", style=FAINT)
    used, peak, capacity = snapshot.kv_tokens_used, snapshot.kv_tokens_peak, snapshot.kv_tokens_capacity
    if not capacity:  # nothing computed yet, or a server's memory, which is not ours to count
        return fit(label.append("-"), width)
    figure = Text.assemble(
        (f"  {used:,}", "bold"),
        f" of {capacity:,} tokens",
        (f"   peak {peak:,}", FAINT),
    )
    bar_width = width - label.cell_len - figure.cell_len
    if bar_width < 8:
        return fit(label.append_text(figure), width)
    return fit(Text.assemble(label, bar(bar_width, used / capacity, "cyan", mark=peak / capacity), figure), width)


def bar(width: int, share: float, style: str, mark: float | None = None) -> Text:
    """A bar of `width` cells, thick up to `share` (0 to 1), with a tick at `mark` when that is further on."""
    halves = round(2 * width * min(1.0, max(0.0, share)))
    full, half = divmod(halves, 2)
    tick = width if mark is None else min(width - 1, int(width * mark))
    line = Text.assemble(("━" * full + "╸" * half, style))
    rest = "─" * (width - full - half)
    if 0 < tick < width and full + half <= tick:
        rest = rest[: tick - full - half] + "┼" + rest[tick + 1 - full - half :]
    return line.append(rest, style=FAINT)


def spread(left: Text, right: Text, width: int) -> Text:
    """One line with `right` at its right edge; `left` is cut where they would meet."""
    left_width = width - right.cell_len - (2 if right.cell_len else 0)
    if left_width < width // 3:
        return fit(left, width)
    left_cells = min(left.cell_len, left_width)  # asked before the cut: an ellipsis makes rich count letter by letter
    line = fit(left, left_width)
    line.append(" " * (width - right.cell_len - left_cells))
    return line.append_text(right)


def fit(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    line.no_wrap = True
    return line
