"""The display modes, and how one is chosen."""

from __future__ import annotations

import os
from enum import StrEnum
from importlib.util import find_spec

from rich.console import Console
from rich.text import Text

from treereason.display.base import Display
from treereason.display.jsonlines import JsonDisplay
from treereason.display.live import RichDisplay
from treereason.display.plain import PlainDisplay

NOTEBOOK_HEIGHT = 30


class Mode(StrEnum):
    """auto: rich where it can be redrawn, else plain. json: one object per line on stdout. none: silent."""

    AUTO = "auto"
    RICH = "rich"
    PLAIN = "plain"
    JSON = "json"
    NONE = "none"


def display(mode: str, console: Console | None = None) -> Display:
    """The display for `mode`, one of `Mode`, on `console`: by default stdout, or the output of a notebook's cell.

    "rich" where nothing can be redrawn becomes "plain", with one line that says so. Raises ValueError for another
    mode.
    """
    console = console or _default_console()
    chosen = Mode(mode)
    if chosen is Mode.JSON:
        return JsonDisplay(console.file)
    if chosen is Mode.NONE:
        return Display()
    if chosen is not Mode.PLAIN and can_redraw(console):
        return RichDisplay(console)
    if chosen is Mode.RICH:
        missing = "ipywidgets in a notebook" if console.is_jupyter else "a terminal"
        console.print(Text(f"display=rich needs {missing}, so plain lines follow"), soft_wrap=True)
    return PlainDisplay(console)


def can_redraw(console: Console) -> bool:
    """Whether the console is a terminal that moves its cursor and shows Unicode, or a notebook with ipywidgets.

    FORCE_COLOR asks for colours, often in the log of a build: it does not make a file a terminal.
    """
    if console.is_jupyter:
        return find_spec("ipywidgets") is not None
    forced = bool(os.environ.get("FORCE_COLOR"))
    terminal = console.file.isatty() if forced else console.is_terminal
    return terminal and not console.is_dumb_terminal and console.encoding.startswith("utf")


def _default_console() -> Console:
    console = Console()
    if console.is_jupyter:
        console.height = NOTEBOOK_HEIGHT  # rich takes 100 lines, more than a screen has
    return console
