"""What the browser of a recorded run shows: rows of the tree, and the thought under the cursor."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from treereason.analysis.browser import HELP, Browser
from treereason.analysis.recorded_problem import RecordedThought
from treereason.analysis.recorded_run import RecordedRun
from treereason.analysis.recorded_tree import RecordedTree, TreeRow
from treereason.core import Status
from treereason.display import formatting
from treereason.display.view import FAINT, MARKS, fit, spread
from treereason.events import ProblemDone
from treereason.jsonable import jsonable
from treereason.text import printable, printable_lines

LINES_OF_TEXT = 8
LONGEST_PATH = 24
LETTERS_A_CELL = 3
"""At most, marks included, so that what `fit` is given always reaches to where it cuts."""
NUM_OTHER = 3
"""Rows of the head and of the line of keys."""


def frame(browser: Browser, width: int, height: int) -> RenderableType:
    """The view, `width` columns and `height` rows."""
    head, foot = _head(browser, width), _keys(browser, width)
    room = max(0, height - len(head) - len(foot))
    if browser.reading:
        body = _whole_text(browser, width, room)
    else:
        below = _thought(browser, width, most=min(LINES_OF_TEXT, max(2, height // 3)))
        rows = browser.in_view(max(1, room - len(below)))
        body = [_row(browser.tree, row, width, row.path == browser.path) for row in rows]
        body += [Text()] * (room - len(below) - len(body)) + below
    return Group(*head, *body[:room], *foot)


def page(height: int) -> int:
    """How far a page goes in a terminal of `height` rows."""
    return max(1, height - NUM_OTHER - LINES_OF_TEXT - 1)


def run_line(run: RecordedRun) -> Text:
    """What the run is."""
    started = run.started
    text = Text.assemble(
        (printable(run.name, 60), "bold"),
        "  ",
        (printable(started.search, 60), "bold cyan"),
        f" on {printable(started.task, 60)}",
    )
    return text.append(f"  {printable(started.model, 60)}  seed {started.seed}", style=FAINT)


def problem_lines(run: RecordedRun, width: int) -> list[Text]:
    """One line per problem of the run."""
    longest = max((len(printable(name, 40)) for name in run.problems), default=0)
    lines = []
    for name, problem in run.problems.items():
        left = Text.assemble((f"{printable(name, 40):{longest}}  ", "bold"), _verdict(problem.done), "  ")
        left.append(printable(_input(problem.input)), style=FAINT)
        figures = f"{len(problem.thoughts):,} thoughts  {problem.tokens:,} tokens"
        if problem.done is not None:
            figures = f"score {formatting.score(problem.done.score)}  {figures}"
        lines.append(spread(left, Text(figures, style=FAINT), width))
    return lines


def tree_lines(tree: RecordedTree, width: int) -> list[Text]:
    """The whole tree, a line per thought."""
    return [_row(tree, row, width, False) for row in tree.rows(tree.children)]


def _head(browser: Browser, width: int) -> list[Text]:
    problem = browser.tree.problem
    where = Text(f"problem {browser.index + 1:,} of {len(browser.names):,}", style=FAINT)
    name = Text.assemble((f"problem {printable(problem.name, 40)}", "bold"), "  ", _verdict(problem.done))
    if problem.done is not None and problem.done.score is not None:
        name.append(f"  score {formatting.score(problem.done.score)}")
    figures = f"{len(browser.tree.children) - 1:,} thoughts   {problem.tokens:,} tokens decoded"
    return [spread(run_line(browser.run), where, width), spread(name, Text(figures, style=FAINT), width)]


def _verdict(done: ProblemDone | None) -> Text:
    if done is None:
        return Text("not finished", style="yellow")
    if done.status == "failed":
        return Text("failed    ", style="red")
    return Text("solved    ", style="green") if done.solved else Text("not solved", style="yellow")


def _row(tree: RecordedTree, row: TreeRow, width: int, at_cursor: bool) -> Text:
    most = width // 3
    guides = row.guides if len(row.guides) <= most else "…" + row.guides[-most:]
    left, right = Text(), Text()
    if not row.path:
        left.append(printable(_input(tree.problem.input)), style="bold")
    else:
        thought = tree.problem.thoughts[row.path]
        _append(left, thought, tree, width)
        if hidden := 0 if row.is_open else tree.below[row.path]:
            right.append(f"▸ {hidden:,} below ", style="cyan")
        right.append(formatting.score(thought.score).rjust(7) if thought.score is not None else " " * 7, style=FAINT)
    line = Text(guides, style=FAINT).append_text(spread(left, right, width - len(guides)))
    if at_cursor:
        line.append(" " * (width - line.cell_len))
        line.stylize("reverse")
    return line


def _append(line: Text, thought: RecordedThought, tree: RecordedTree, width: int) -> None:
    mark, style = MARKS[thought.status]
    is_best = thought.path == tree.best
    line.append("◆ " if is_best else f"{mark} ", style="bold green" if is_best else style)
    if len(thought.parents) > 1:
        line.append(f"joins {len(thought.parents)}  ", style="magenta")
    if thought.status is Status.FAILED:
        line.append(printable(thought.error) or "failed", style="red")
        return
    most = LETTERS_A_CELL * width
    text = printable(thought.text, most + 1)[:most]
    if not text and thought.answer is not None:
        text = formatting.answer(thought.answer)
    faint = thought.status is Status.PRUNED
    style = "bold green" if is_best else "green" if tree.on_best_path(thought.path) else FAINT if faint else ""
    line.append(text or ("decoding" if thought.status is Status.DECODING else "(empty)"), style=style)


def _thought(browser: Browser, width: int, most: int) -> list[Text]:
    """A rule with the figures of the thought under the cursor, and the first lines of its text."""
    lines = _text(browser, width)
    shown = (
        lines[: most - 1] if len(lines) <= most - 1 else [*lines[: most - 2], Text("… Enter: the whole text", FAINT)]
    )
    return [_rule(browser, width), *shown]


def _whole_text(browser: Browser, width: int, height: int) -> list[Text]:
    lines = _text(browser, width)
    browser.scroll = max(0, min(browser.scroll, len(lines) - height + 1))
    return [_rule(browser, width), *lines[browser.scroll : browser.scroll + height - 1]]


def _text(browser: Browser, width: int) -> list[Text]:
    path = browser.path
    problem = browser.tree.problem
    if not path:
        text = _input(problem.input)
    else:
        thought = problem.thoughts[path]
        text = thought.error or thought.text
    lines: list[Text] = []
    for line in printable_lines(text).split("\n"):
        lines += [Text(line[at : at + width]) for at in range(0, max(1, len(line)), width)]
    return lines


def _rule(browser: Browser, width: int) -> Text:
    title = fit(Text.assemble(("── ", FAINT), _figures(browser), " "), width)
    return title.append("─" * (width - title.cell_len), style=FAINT)


def _figures(browser: Browser) -> Text:
    if not browser.path:
        return Text("the problem", style="bold")
    thought = browser.tree.problem.thoughts[browser.path]
    name = ".".join(map(str, thought.path))
    name = name if len(name) <= LONGEST_PATH else f"…{name[-LONGEST_PATH:]} at level {len(thought.path)}"
    text = Text.assemble((f"thought {name}", "bold"), f"  {thought.status}")
    for by, (value, final) in thought.scores.items():
        text.append(f"  {printable(by, 30) or 'score'} {formatting.score(value)}" + " final" * final)
    if thought.answer is not None:
        text.append(f"  answer {formatting.answer(thought.answer, 40)}", style="cyan")
    text.append(f"  {thought.tokens_decoded:,} tokens", style=FAINT)
    return text.append(f", ended by {thought.finish}" if thought.finish else "", style=FAINT)


def _keys(browser: Browser, width: int) -> list[Text]:
    if browser.typed is not None:
        return [fit(Text.assemble(("find: ", "bold"), printable(browser.typed), ("▏", "bold")), width)]
    if browser.helping:
        lines = [HELP[0]]
        for entry in HELP[1:]:
            together = f"{lines[-1]}   {entry}"
            lines = [*lines[:-1], together] if len(together) <= width else [*lines, entry]
        return [fit(Text(line, style="yellow"), width) for line in lines]
    text = (
        printable(browser.said) or "↑↓ move  ←→ close, open  Enter text  b answer  n p problem  / find  ? keys  q leave"
    )
    return [fit(Text(text, style="yellow" if browser.said else FAINT), width)]


def _input(value: object) -> str:
    return value if isinstance(value, str) else str(jsonable(value))
