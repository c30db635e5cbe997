"""Going through a recorded run with keys: which problem, which thoughts are open, where the cursor is."""

from __future__ import annotations

from collections.abc import Callable

from treereason.analysis.recorded_run import RecordedRun
from treereason.analysis.recorded_tree import RecordedTree, TreeRow
from treereason.core import UserError
from treereason.events import ThoughtPath
from treereason.text import nearest

HELP = (
    "↑ ↓ j k  move",
    "PgUp PgDn  a page",
    "g G  first, last",
    "← → h l  close, open",
    "* open all",
    "- close all",
    "b  the answer",
    "n p  next, previous problem",
    "/ text  find, . again",
    "Enter  whole text",
    "q  leave",
)


class Browser:
    """The state of the view; `press` changes it, `browser_frame.frame` draws it.

    reading: whether the whole text of a thought is on show; scroll: its first line then. typed: what is being searched
    for, None when nothing is typed. said: a note for the last line. helping: whether all keys are listed there.
    """

    def __init__(self, run: RecordedRun, problem: str | None = None, most_rows: int = 40) -> None:
        self.run = run
        self.names = list(run.problems)
        if not self.names:
            raise UserError(f"{run.folder}: no problem was started in this run")
        if problem is not None and problem not in run.problems:
            raise UserError(f"{run.folder}: no problem is called {problem}; {_near(problem, self.names)}")
        self._most_rows = most_rows
        self.reading = False
        self.scroll = 0
        self.typed: str | None = None
        self.said = ""
        self.helping = False
        self._found = ""
        self.go_to(self.names.index(problem) if problem is not None else 0)

    def go_to(self, index: int) -> None:
        """Show another problem."""
        self.index = index % len(self.names)
        self.tree = RecordedTree(self.run.problems[self.names[self.index]])
        self.opened = self.tree.first_open(self._most_rows)
        self.top = 0
        self._turn(self.tree.best or ())

    @property
    def path(self) -> ThoughtPath:
        """The thought under the cursor."""
        return self.rows[self.cursor].path

    def press(self, key: str, page: int = 10) -> bool:
        """Take a key, by its name (keys.py) or character; returns False when it leaves. page: rows on show."""
        self.said, self.helping = "", False
        if self.typed is not None:
            self._type(key)
            return True
        if key in ("q", "ctrl-c", "ctrl-d") or (key == "escape" and not self.reading):
            return False
        action = self._reading_keys(page).get(key) if self.reading else None
        action = action or self._keys(page).get(key)
        if action is not None:
            action()
        elif key == "?":
            self.helping = True
        return True

    def in_view(self, height: int) -> list[TreeRow]:
        """The rows on show, at most `height`, the cursor's among them."""
        self.top = max(0, min(self.top, self.cursor, len(self.rows) - height))
        self.top = max(self.top, self.cursor - height + 1)
        return self.rows[self.top : self.top + height]

    def _keys(self, page: int) -> dict[str, Callable[[], None]]:
        last = len(self.rows) - 1
        return {
            **dict.fromkeys(("up", "k"), lambda: self._move(self.cursor - 1)),
            **dict.fromkeys(("down", "j"), lambda: self._move(self.cursor + 1)),
            **dict.fromkeys(("page-up", "ctrl-u"), lambda: self._move(self.cursor - page)),
            **dict.fromkeys(("page-down", " ", "ctrl-f"), lambda: self._move(self.cursor + page)),
            **dict.fromkeys(("home", "g"), lambda: self._move(0)),
            **dict.fromkeys(("end", "G"), lambda: self._move(last)),
            **dict.fromkeys(("left", "h"), self._close),
            **dict.fromkeys(("right", "l"), self._open),
            **dict.fromkeys(("n", "tab"), lambda: self.go_to(self.index + 1)),
            "p": lambda: self.go_to(self.index - 1),
            "b": self._to_best,
            "*": lambda: self._turn(self.path, {path for path, below in self.tree.children.items() if below}),
            "-": lambda: self._turn((), {()}),
            "/": self._start_typing,
            ".": self._find,
            "enter": self._read,
        }

    def _reading_keys(self, page: int) -> dict[str, Callable[[], None]]:
        """While a text is on show, keys that move go through its lines."""

        def by(lines: int) -> Callable[[], None]:
            def move() -> None:
                self.scroll = max(0, self.scroll + lines)

            return move

        return {
            **dict.fromkeys(("up", "k"), by(-1)),
            **dict.fromkeys(("down", "j"), by(1)),
            **dict.fromkeys(("page-up", "ctrl-u"), by(-page)),
            **dict.fromkeys(("page-down", " ", "ctrl-f"), by(page)),
            **dict.fromkeys(("escape", "left", "h"), self._read),
        }

    def _turn(self, path: ThoughtPath, opened: set[ThoughtPath] | None = None) -> None:
        """Put the cursor on a thought, with everything above it open."""
        self.opened = self.opened if opened is None else opened
        self.opened |= {path[:depth] for depth in range(len(path))} & self.tree.children.keys()
        self.rows = self.tree.rows(self.opened)
        self._at = {row.path: at for at, row in enumerate(self.rows)}
        self.cursor = self._at[path]
        self.scroll = 0

    def _move(self, to: int) -> None:
        self.cursor, self.scroll = max(0, min(len(self.rows) - 1, to)), 0

    def _open(self) -> None:
        path = self.path
        if not self.tree.children[path]:
            return
        if path in self.opened:
            self._move(self.cursor + 1)
        else:
            self._turn(path, self.opened | {path})

    def _close(self) -> None:
        path = self.path
        if self.rows[self.cursor].is_open and path:
            self._turn(path, self.opened - {path})
        else:
            self._move(self._at[self.tree.parent(path)])

    def _to_best(self) -> None:
        if self.tree.best is None:
            self.said = "no thought is the answer to this problem"
        else:
            self._turn(self.tree.best)

    def _read(self) -> None:
        self.reading, self.scroll = not self.reading, 0

    def _start_typing(self) -> None:
        self.typed = ""

    def _type(self, key: str) -> None:
        assert self.typed is not None
        if key == "enter":
            self._found, self.typed = self.typed or self._found, None
            self._find()
        elif key in ("escape", "ctrl-c"):
            self.typed = None
        elif key == "backspace":
            self.typed = self.typed[:-1]
        elif len(key) == 1:
            self.typed += key

    def _find(self) -> None:
        """The next thought whose text holds what was typed, whatever its case."""
        if not self._found:
            return
        order = list(self.tree.children)
        at = order.index(self.path)
        for path in [*order[at + 1 :], *order[: at + 1]]:
            if path and self._found.casefold() in self.tree.problem.thoughts[path].text.casefold():
                self._turn(path)
                return
        self.said = f"no thought holds {self._found!r}"


def _near(name: str, names: list[str]) -> str:
    hint = nearest(name, names)
    return hint if hint.startswith("did") else f"there are {len(names):,}, from {names[0]} to {names[-1]}"
