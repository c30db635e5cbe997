"""What a run came to, in words and a table: the same for every display."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from treereason.display import formatting
from treereason.display.shell import shell_word
from treereason.events import RunDone, RunStarted
from treereason.text import printable

WORTH_SAYING = 1.05
MAX_WIDTH = 100
LONGEST_COMMAND = 4000
LABEL = len("another search")
HEADINGS = ("", "solved", "mean score")
ENDS = {"end": "by the model", "stop": "at a stop string", "length": "at a token limit"}
BASES = {
    "oracle": "an oracle: knows the truth",
    "label_free": "label-free",
    "judge": "a model as judge",
    "derived": "from other scores",
    "unmarked": "unmarked: its author does not say what it rests on",
}
"""What a scorer's verdicts rest on (core.Basis), in words."""


@dataclass(frozen=True)
class Report:
    """What a run came to, as text that is safe to show.

    good: whether the run came to its end, and not every problem failed.
    table: (who, solved, mean score); figures: (name, text); commands: (command, what it does).
    """

    good: bool
    title: str
    words: list[str]
    table: list[tuple[str, str, str]]
    figures: list[tuple[str, str]]
    commands: list[tuple[str, str]]


def report(event: RunDone, started: RunStarted | None = None) -> Report:
    """The report of a finished or interrupted run; what its summary lacks is left out.

    started: how the run began; with it the commands repeat what the user typed. A run that was started from Python
    gets no commands.
    """
    summary = event.summary
    task, search = printable(str(summary.get("task", "?"))), printable(str(summary.get("search", "?")))
    total = int(summary.get("problems") or 0)
    num_done = int(summary.get("problems_done", total) or 0)
    folder = printable(event.folder)
    finished = event.status == "done"
    all_failed = 0 < num_done <= int(summary.get("failed") or 0)
    if finished:
        title = f"done: {formatting.count(total, 'problem')} in {formatting.duration(summary.get('seconds') or 0.0)}"
        title += ", all failed" * all_failed
    else:
        title = f"interrupted: {num_done:,} of {formatting.count(total, 'problem')} done"
        title += f", kept in {folder}" * bool(folder)
    return Report(
        good=finished and not all_failed,
        title=title,
        words=_words(summary, task, search, num_done),
        table=_table(summary, search, num_done),
        figures=[*_figures(summary), *([("results", folder)] if folder else [])],
        commands=_commands(started, task, search, int(summary.get("seed") or 0)),
    )


def panel(event: RunDone, width: int, started: RunStarted | None = None, *, fold: bool = False) -> RenderableType:
    """The report as a panel of `width` columns, but no wider than MAX_WIDTH.

    Commands stand below it, each on one line however long: the terminal wraps it, and what is copied is whole.
    fold: wrap them here, for a picture.
    """
    found = report(event, started)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim", border_style="dim")
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading else "left")
    for index, row in enumerate(found.table):
        table.add_row(*(Text(cell) for cell in row), style="bold green" if index == 0 else "")
    style = "green" if found.good else "yellow"
    box_ = Panel(
        Group(*(Text(line) for line in found.words), Text(), table, Text(), _grid(found.figures, "dim", "")),
        box=box.ROUNDED,
        title=Text(found.title, style=f"bold {style}"),
        title_align="left",
        border_style=style,
        padding=(0, 2),
        width=min(width, MAX_WIDTH),
    )
    commands = (
        Text.assemble(
            (f"{what:{LABEL}}  ", "dim"), (command, "cyan"), no_wrap=not fold, overflow="fold" if fold else "ignore"
        )
        for command, what in found.commands
    )
    return Group(box_, *commands)


def lines(event: RunDone, started: RunStarted | None = None) -> list[str]:
    """The report as plain lines, without line ends."""
    found = report(event, started)
    rows = [HEADINGS, *found.table]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    name = max(len(name) for name, _ in found.figures)
    return [
        found.title,
        *found.words,
        "",
        *(f"{who:{widths[0]}}  {solved:>{widths[1]}}  {mean:>{widths[2]}}".rstrip() for who, solved, mean in rows),
        "",
        *(f"{left:{name}}  {right}" for left, right in found.figures),
        *(["", "next:"] if found.commands else []),
        *(f"  {what:{LABEL}}  {command}" for command, what in found.commands),
    ]


def _commands(started: RunStarted | None, task: str, search: str, seed: int) -> list[tuple[str, str]]:
    """What to type next: the same run with another search, if its task goes with one, or another seed.

    Nothing for a run that Python started.
    """
    if started is not None and not started.program:
        return []
    program = started.program if started else "treereason"
    given = [text for text in (started.overrides if started else ()) if not text.startswith(("hydra.", "seed="))]
    if not any(text.startswith("task=") for text in given):
        given.insert(0, f"task={task}")
    but_search = [text for text in given if not text.startswith(("search=", "search."))]
    if not any(text.startswith("search=") for text in given):
        given.append(f"search={search}")
    another = "tree_of_thoughts" if search != "tree_of_thoughts" else "best_of_n"
    commands = [([*given, f"seed={seed + 1}"], "another seed"), (["--help"], "all options")]
    if search != task:  # a task and a search of one name go with each other only
        commands.insert(0, ([*but_search, f"search={another}"], "another search"))
    texts = [(" ".join([program, *map(shell_word, words)]), what) for words, what in commands]
    return [(text, what) for text, what in texts if len(text) <= LONGEST_COMMAND]  # a part of one cannot be typed


def _words(summary: Mapping[str, Any], task: str, search: str, num_done: int) -> list[str]:
    solved, failed = int(summary.get("solved") or 0), int(summary.get("failed") or 0)
    sentence = f"{search} solved {solved:,} of {formatting.count(num_done, f'{task} problem')}"
    sentence += f"; {failed:,} failed." if failed else "."
    if not num_done:
        sentence = f"{search} was stopped before the first problem was done."
    words = [sentence]
    if error := summary.get("first_error"):
        words.append(f"The first failure, problem {printable(str(error))}")
    if num_failed := int(summary.get("thoughts_failed") or 0):
        first = summary.get("first_thought_error")
        which = f"; the first, problem {printable(str(first))}" if first and first != error else "."
        words.append(formatting.count(num_failed, "thought") + " failed" + which)
    if num_cut := int(summary.get("thoughts_cut") or 0):
        were = "was" if num_cut == 1 else "were"
        words.append(f"{formatting.count(num_cut, 'thought')} {were} cut off at a token limit.")
    if num_empty := int(summary.get("thoughts_empty") or 0):
        words.append(f"{formatting.count(num_empty, 'thought')} had no text.")
    if summary.get("oracle_guided", summary.get("scorer_oracle")):
        oracles = [name for name, basis in _guides(summary) if basis == "oracle"] or [str(summary.get("scorer"))]
        names = f"scorer {oracles[0]} knows" if len(oracles) == 1 else f"scorers {', '.join(oracles)} know"
        words.append(f"The {printable(names)} the truth: this shows what the search could reach.")
    mean, single = summary.get("mean_score"), summary.get("single_sample_mean_score")
    if mean is not None and single is not None:
        words.append(
            f"A single sample of the same model scores {formatting.score(single)} on average, "
            f"the search {formatting.score(mean)}."
        )
    ratio = summary.get("kv_read_ratio")
    if ratio is not None and ratio >= WORTH_SAYING:
        words.append(
            f"Each shared token was read once for all branches: {ratio:.1f}x fewer KV reads than decoding "
            "every branch on its own."
        )
    return words


def _table(summary: Mapping[str, Any], search: str, num_done: int) -> list[tuple[str, str, str]]:
    rows = [(search, f"{summary.get('solved') or 0:,} of {num_done:,}", formatting.score(summary.get("mean_score")))]
    if summary.get("single_sample_mean_score") is not None:
        solved = summary.get("single_sample_solved")
        of = "-" if solved is None else f"{solved:,.1f} of {num_done:,}"
        rows.append(("single sample (mean)", of, formatting.score(summary["single_sample_mean_score"])))
    if summary.get("greedy_solved") is not None:
        of = summary.get("greedy_problems_done", num_done)
        rows.append(
            ("greedy", f"{summary['greedy_solved']:,} of {of:,}", formatting.score(summary.get("greedy_mean_score")))
        )
    return rows


def _guides(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and basis of each scorer that guided the search."""
    return list(zip(summary.get("guided_by") or [], summary.get("guided_by_basis") or [], strict=False))


def _figures(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    decoded, prefilled, reused = (
        int(summary.get(f"tokens_{name}") or 0) for name in ("decoded", "prefilled", "reused")
    )
    text = f"{decoded:,} decoded, {prefilled:,} prefilled, {reused:,} reused"
    if unfinished := summary.get("tokens_unfinished"):
        text += f"; {unfinished:,} decoded for unfinished problems"
    judged = [f"{int(summary.get(f'judge_tokens_{name}') or 0):,} {name}" for name in ("decoded", "prefilled")]
    if judged != ["0 decoded", "0 prefilled"]:
        text += f"; by judges {' and '.join(judged)}"
    found = [("tokens", text)]
    ends = {ENDS[by]: int(n) for by, n in (summary.get("finishes") or {}).items() if by in ENDS and n}
    if ends:
        found.append(("endings", ", ".join(f"{n:,} {by}" for by, n in ends.items())))
    if pace := summary.get("tokens_per_second"):
        found.append(("speed", f"{pace:,.0f} tokens decoded per second"))
    if peak := summary.get("kv_tokens_peak"):
        rebuilt = int(summary.get("tokens_rebuilt") or 0)
        again = f"; {rebuilt:,} tokens evicted and computed again" if rebuilt else ""
        found.append(("KV cache", f"{peak:,} tokens at the peak{again}"))
    if profile := summary.get("profile"):
        found.append(("time", ", ".join(f"{part} {share:.0%}" for part, share in profile.items())))
    if launches := summary.get("launches"):
        graph, eager = launches.get("graph", 0), [(why, n) for why, n in launches.items() if why != "graph"]
        held = f" of {num_bytes / 2**30:,.1f} GiB" if (num_bytes := summary.get("graph_bytes")) else ""
        from_graphs = f"{graph:,} from graphs{held}"
        found.append(("steps", ", ".join([from_graphs, *(f"{n:,} eager: {why}" for why, n in eager)])))
    if drafts := summary.get("speculative"):
        found.append(("drafts", _drafts(drafts)))
    found += [(name, str(summary[name])) for name in ("fused", "threads", "spans") if summary.get(name)]
    if server := summary.get("server"):
        found.append(("server", printable(str(server))))
    if ratio := summary.get("kv_read_ratio"):
        read, alone = (int(summary.get(f"kv_tokens_read_{name}") or 0) for name in ("tree", "sequence"))
        told = f"{read:,} tokens, {alone:,} if every branch read its own: {ratio:.1f}x"
        if seen := summary.get("kv_tokens_read_spans"):
            told = (
                f"{seen:,} tokens with spans, {read:,} if branches saw all: {read / seen:.1f}x; {alone:,} each its own"
            )
        found.append(("KV reads", told))
    if summary.get("guided_by_basis") is not None and summary.get("problems_done"):
        guides = (f"{name} ({BASES[basis]})" if basis in BASES else name for name, basis in _guides(summary))
        found.append(("guides", printable(", ".join(guides) or "no score")))
    if repeats := summary.get("repeats"):
        found.append(("repeats", printable(str(repeats))))
    return found


def _drafts(drafts: Mapping[str, Any]) -> str:
    if why := drafts.get("why"):
        return printable(str(why))
    rows, right = int(drafts.get("rows") or 0), int(drafts.get("tokens_from_drafts") or 0)
    shares = zip(drafts.get("right_by_depth") or [], drafts.get("proposed_by_depth") or [], strict=False)
    text = f"{right:,} tokens from {rows:,} rows"
    if rows:
        text += f"; right by depth: {', '.join(f'{part / whole:.0%}' for part, whole in shares if whole)}"
    if (saved := drafts.get("saved_s")) is not None:
        text += f"; {'saved' if saved >= 0 else 'cost'} about {formatting.duration(abs(saved))}"
    return text


def _grid(rows: list[tuple[str, str]], left: str, right: str) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style=left, overflow="fold")
    grid.add_column(style=right, overflow="fold")
    for name, text in rows:
        grid.add_row(Text(name), Text(text))
    return grid
