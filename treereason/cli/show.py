"""`treereason show`: the problems and thoughts of a recorded run, in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, Group

from treereason.analysis.browser import Browser
from treereason.analysis.browser_frame import frame, page, problem_lines, run_line, tree_lines
from treereason.analysis.recorded_run import RecordedRun, read_run
from treereason.cli import interrupt
from treereason.cli.arguments import Arguments
from treereason.core import UserError
from treereason.display.keys import read_keys, unbuffered
from treereason.display.modes import can_redraw
from treereason.text import from_home

WIDTH_OF_LINES = 160
RESIZED_S = 0.2
USAGE = """\
Usage: treereason show RUN [PROBLEM] [--plain]

The thoughts of a run, problem by problem; keys open and close them, ? lists the keys, q leaves. Where nothing can be
redrawn, and with --plain: one line per problem, or with PROBLEM one line per thought.
"""


def main(arguments: Sequence[str]) -> int:
    """Show the run; returns the exit code. Raises UserError."""
    parser = Arguments("show")
    parser.add_argument("words", nargs="*")
    parser.add_argument("--plain", action="store_true")
    flags = parser.parse_intermixed_args(arguments)
    if flags.help:
        print(USAGE, end="")  # noqa: T201
        return 0
    if not 1 <= len(flags.words) <= 2:
        raise UserError(
            "show: give the folder of one run, and a problem's id if you like: `treereason show RUN PROBLEM`"
        )
    run = read_run(Path(from_home(flags.words[0])))
    problem = flags.words[1] if len(flags.words) > 1 else None
    console = Console()
    if flags.plain or not can_redraw(console) or not sys.stdin.isatty():
        _print(run, problem, console)
    else:
        _browse(Browser(run, problem, console.height), console)
    return 0


def _print(run: RecordedRun, problem: str | None, console: Console) -> None:
    width = console.width if console.is_terminal else WIDTH_OF_LINES
    console.width = width
    lines = problem_lines(run, width) if problem is None else tree_lines(Browser(run, problem).tree, width)
    lines.insert(0, run_line(run))
    for line in lines:
        line.rstrip()
    if console.is_terminal:
        console.print(Group(*lines), soft_wrap=True)
    else:  # nothing to style, and rich would take its time all the same
        console.file.writelines(f"{line.plain}\n" for line in lines)


def _browse(browser: Browser, console: Console) -> None:
    """Draw and take keys until one leaves, or a signal comes."""
    fd = sys.stdin.fileno()
    with interrupt.first_ends_run(lambda: None, _leave), unbuffered(fd), console.screen() as screen:
        while True:
            size = console.size
            screen.update(frame(browser, size.width, size.height))
            while not (keys := read_keys(fd, RESIZED_S)):
                if keys is None:
                    return
                if console.size != size:
                    break
            for key in keys:
                if not browser.press(key, page(size.height)):
                    return


def _leave() -> None:
    raise KeyboardInterrupt
