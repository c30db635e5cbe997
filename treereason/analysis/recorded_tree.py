"""The tree of one recorded problem: who is below whom, in the order of ranks, and which rows of it are on show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from treereason.analysis.recorded_problem import RecordedProblem
from treereason.events import ThoughtPath


@dataclass(frozen=True)
class TreeRow:
    """One row. guides: the lines that tie it to its parent, two cells a level. is_open: whether its children follow."""

    path: ThoughtPath
    guides: str
    is_open: bool


class RecordedTree:
    """Children of each thought, the root's path () included; probes are left out.

    A thought whose parent the journal lacks hangs below the nearest one above that it has.
    """

    def __init__(self, problem: RecordedProblem) -> None:
        self.problem = problem
        self.children: dict[ThoughtPath, list[ThoughtPath]] = {(): []}
        for path, thought in sorted(problem.thoughts.items()):
            if path and not thought.probe:
                self.children[path] = []
                self.children[self._above(path)].append(path)
        self.below = dict.fromkeys(self.children, 0)
        """How many thoughts are below each."""
        for path in reversed(list(self.children)):
            if path:
                self.below[self._above(path)] += self.below[path] + 1
        best = problem.done.best if problem.done is not None else None
        self.best: ThoughtPath | None = best if best in self.children else None

    def parent(self, path: ThoughtPath) -> ThoughtPath:
        """The one above; the root's is itself."""
        return self._above(path) if path else ()

    def on_best_path(self, path: ThoughtPath) -> bool:
        """Whether the answer is this thought or below it."""
        return bool(self.best) and self.best is not None and self.best[: len(path)] == path

    def first_open(self, most_rows: int) -> set[ThoughtPath]:
        """What to open at first: all where it fits `most_rows`, else the way to the answer, then level by level."""
        if len(self.children) <= most_rows:
            return {path for path, children in self.children.items() if children}
        opened: set[ThoughtPath] = {()}
        if self.best is not None:
            opened |= {self.best[:depth] for depth in range(len(self.best))} & self.children.keys()
        num_rows = 1 + sum(len(self.children[path]) for path in opened)
        level = list(self.children[()])
        while level:
            for path in level:
                if path not in opened and self.children[path] and num_rows + len(self.children[path]) <= most_rows:
                    opened.add(path)
                    num_rows += len(self.children[path])
            level = [child for path in level if path in opened for child in self.children[path]]
        return opened

    def rows(self, opened: Iterable[ThoughtPath]) -> list[TreeRow]:
        """All rows from the root down, where only the `opened` thoughts show what is below them."""
        return list(self._rows(frozenset(opened)))

    def _rows(self, opened: frozenset[ThoughtPath]) -> Iterator[TreeRow]:
        stack: list[tuple[ThoughtPath, str, str]] = [((), "", "")]  # and not recursion: a chain may be deep
        while stack:
            path, bars, corner = stack.pop()
            children = self.children[path]
            is_open = path in opened and bool(children)
            yield TreeRow(path, bars + corner, is_open)
            if is_open:
                inner = bars + {"": "", "├─": "│ ", "╰─": "  "}[corner]
                stack += [(child, inner, "├─") for child in reversed(children)]
                at = len(stack) - len(children)
                stack[at] = (children[-1], inner, "╰─")

    def _above(self, path: ThoughtPath) -> ThoughtPath:
        above = path[:-1]
        while above not in self.children:
            above = above[:-1]
        return above
