"""One frame of the live display, drawn from a snapshot; its height and width never exceed what is given."""

from __future__ import annotations

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from treereason.core import Status
from treereason.display import figures
from treereason.display.state import Snapshot
from treereason.display.stopping import NOTE
from treereason.display.viewport import Row, Viewport

CHROME = 9
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


def tree_height(height: int) -> int:
    """Rows free for thoughts in a terminal of `height` rows."""
    return max(0, height - CHROME)


def max_depth(width: int) -> int:
    """Levels of the tree that fit a terminal of `width` columns and leave half of it to the text."""
    return max(3, width // 5)


def frame(snapshot: Snapshot, width: int, height: int, min_rows: int = 0, stopping: bool = False) -> RenderableType:
    """The live view. `min_rows`: rows that the tree takes at least, so that the frame does not jump.

    stopping: whether Ctrl-C has come.
    """
    header = _header(snapshot, width, stopping)
    if width < MIN_WIDTH or height < CHROME + 3:
        return Group(*header[: max(1, height - 1)])
    rows = min(max(min_rows, snapshot.viewport.height), tree_height(height))
    return Group(*header, _tree(snapshot, width, rows), *_engine(snapshot, width))


def _header(snapshot: Snapshot, width: int, stopping: bool) -> list[Text]:
    started = snapshot.started
    if started is None:
        return [_fit(Text("treereason", style="bold"), width)]
    title = Text.assemble(("treereason ", "bold"), (" ", ""), (started.search, "bold cyan"))
    if started.pass_name == "greedy":
        title = Text.assemble(("treereason ", "bold"), (" ", ""), ("greedy baseline", "bold cyan"))
    title.append(f" on {started.task}")
    solved = Text("no problem done yet", style=FAINT)
    if snapshot.done:
        solved = Text.assemble((f"{snapshot.solved:,}", "bold green"), f" of {snapshot.done:,} solved")
    if snapshot.failed:
        solved.append(f"   {snapshot.failed:,} failed", style="red")
    if snapshot.mean_score is not None:
        solved.append(f"   mean score {figures.score(snapshot.mean_score)}")
        solved.append(f"   best {figures.score(snapshot.best_score)}", style=FAINT)
    return [
        _spread(title, Text(f"{started.model}   seed {started.seed}", style=FAINT), width),
        _progress(snapshot, width),
        _spread(Text(NOTE, style="bold yellow") if stopping else solved, Text(), width),
    ]


def _progress(snapshot: Snapshot, width: int) -> Text:
    left = snapshot.seconds_left
    times = f"{figures.clock(snapshot.seconds)}"
    if left is not None and snapshot.done < snapshot.total:
        times += f"   {figures.clock(left)} left"
    figure = Text.assemble((f"{snapshot.done:,}", "bold"), f" of {snapshot.total:,}", (f"   {times}", FAINT))
    room = 2 * len(f"{snapshot.total:,}") + len("   of    00:00   00:00 left")
    figure.pad_left(max(2, room - figure.cell_len))
    share = snapshot.done / snapshot.total if snapshot.total else 0.0
    return _fit(Text.assemble(bar(max(4, width - figure.cell_len), share, style="green"), figure), width)


def _tree(snapshot: Snapshot, width: int, rows: int) -> Panel:
    inner = width - 4
    lines = list(_tree_lines(snapshot.viewport, inner))[:rows]
    lines += [Text()] * (rows - len(lines))
    title = Text.assemble(
        (f"problem {snapshot.problem}" if snapshot.problem else "waiting for the first problem", "not dim bold")
    )
    subtitle = Text(figures.count(snapshot.thoughts, "thought"), style=FAINT)
    done = snapshot.problem_done
    if done is not None:
        verdict = ("failed", "not dim red") if done.status == "failed" else ("solved", "not dim green")
        verdict = verdict if done.solved or done.status == "failed" else ("not solved", "not dim yellow")
        title.append_text(Text.assemble("  ", verdict))
    return Panel(
        Group(*lines) if lines else Text(),
        box=box.ROUNDED,
        border_style=FAINT,
        title=title,
        title_align="left",
        subtitle=subtitle,
        subtitle_align="right",
        width=width,
        height=rows + 2,
    )


def _tree_lines(viewport: Viewport, width: int) -> list[Text]:
    lines = [_spread(*_row(row), width) for row in viewport.rows]
    if viewport.above:
        levels = figures.count(viewport.above, "level")
        lines.insert(0, Text(f"… {levels} above", style=FAINT))
    if viewport.more > 0:
        lines.append(Text(f"… {viewport.more:,} more", style=FAINT))
    return lines


def _row(row: Row) -> tuple[Text, Text]:
    line = Text.assemble((row.guides, FAINT))
    right = Text("probing " if row.probed else "", style="cyan")
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
        line.append(f"{row.together:,} decoding" if row.together > 1 else "decoding", style=FAINT)
    else:
        line.append(row.text or "(empty)", style=_text_style(row))
    right = Text.assemble(right, (f"{row.hidden:,} more " if row.hidden else "", FAINT))
    right.append(
        (figures.score(row.score) if row.score is not None else "").rjust(SCORE_WIDTH), style=_score_style(row)
    )
    return line, right


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
        (f"{snapshot.live:,}", "bold cyan"),
        " live",
        f"   {snapshot.waiting:,} waiting",
        (f"   {snapshot.pruned:,} pruned", FAINT),
    )
    if snapshot.failed_thoughts:
        branches.append(f"   {snapshot.failed_thoughts:,} failed", style="red")
    pace = Text.assemble((f"{snapshot.tokens_per_second:,.0f}", "bold"), " tokens/s")
    shared = Text.assemble(("shared    ", FAINT), f"{snapshot.tokens_reused:,} prompt tokens reused")
    ratio = snapshot.kv_read_ratio
    saved = Text.assemble((f"{ratio:.1f}x", "bold green"), " fewer KV reads") if ratio else Text()
    return [_spread(branches, pace, width), _kv(snapshot, width), _spread(shared, saved, width)]


def _kv(snapshot: Snapshot, width: int) -> Text:
    label = Text("KV cache  ", style=FAINT)
    if not snapshot.kv_capacity:  # nothing computed yet, or a server's memory, which is not ours to count
        return _spread(label, Text("-"), width)
    figure = Text.assemble(
        (f"  {snapshot.kv_used:,}", "bold"),
        f" of {snapshot.kv_capacity:,} tokens",
        (f"   peak {figures.short(snapshot.kv_peak)}", FAINT),
    )
    room = width - label.cell_len - figure.cell_len
    if room < 8:
        return _fit(label.append_text(figure), width)
    used, peak = snapshot.kv_used / snapshot.kv_capacity, snapshot.kv_peak / snapshot.kv_capacity
    return _fit(Text.assemble(label, bar(room, used, "cyan", mark=peak), figure), width)


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


def _spread(left: Text, right: Text, width: int) -> Text:
    """One line with `right` at its right edge; `left` is cut to make room."""
    room = width - right.cell_len - (2 if right.cell_len else 0)
    if room < width // 3:
        return _fit(left, width)
    line = _fit(left, room)
    line.append(" " * (width - right.cell_len - cell_len(line.plain)))
    return line.append_text(right)


def _fit(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    line.no_wrap = True
    return line
