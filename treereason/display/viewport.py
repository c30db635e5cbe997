"""Which thoughts of a problem are shown when only a few rows are free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

from treereason.core import Status
from treereason.display.thoughts import ShownProblem
from treereason.events import ThoughtPath

MAX_FAILED = 3


@dataclass(frozen=True)
class Row:
    """One row, copied so that it can be drawn while the thoughts change.

    guides: the lines that tie it to its parent, two cells per level.
    seen: as in ThoughtDecoded.
    num_thoughts: thoughts that the row stands for: siblings that are being decoded share one.
    num_hidden: direct children that no row stands for.
    probed: whether a probe of it is being decoded.
    """

    guides: str
    text: str
    seen: tuple[str, ...]
    status: Status
    score: float | None
    error: str
    num_parents: int
    num_thoughts: int
    num_hidden: int
    probed: bool
    is_root: bool
    on_best_path: bool
    is_best: bool


@dataclass(frozen=True)
class Viewport:
    """At most as many rows as asked for. Not shown: `levels_above` them, and `num_more` thoughts elsewhere."""

    rows: tuple[Row, ...] = ()
    levels_above: int = 0
    num_more: int = 0

    @property
    def height(self) -> int:
        """Rows and the lines that say what is not shown."""
        return len(self.rows) + (self.levels_above > 0) + (self.num_more > 0)


def choose(problem: ShownProblem, height: int, max_depth: int = 12) -> Viewport:
    """The best path, the frontier and what happened last, in at most `height` rows and `max_depth` levels.

    The work grows with `height` and the frontier, not with the number of thoughts.
    """
    num_thoughts = len(problem.thoughts)
    if height < 3:
        return Viewport(num_more=num_thoughts)
    best = problem.best()
    best_path = best.path if best else ()
    levels = min(max_depth, height * 2 // 3, height - 3)
    top = best_path[: max(0, len(best_path) - levels)]
    num_rows = height - (len(top) > 0) - (num_thoughts > height)
    shown = _pick(problem, best_path, top, num_rows, levels)
    rows = tuple(_rows(problem, shown, top, best_path))
    num_shown = sum(row.num_thoughts for row in rows)
    return Viewport(rows, levels_above=len(top), num_more=num_thoughts - num_shown - len(top))


def _pick(
    problem: ShownProblem, best_path: ThoughtPath, top: ThoughtPath, num_rows: int, levels: int
) -> set[ThoughtPath]:
    """Paths below `top`, with all that lies between: what matters most takes its rows first."""
    shown: set[ThoughtPath] = {top}
    decoding: set[ThoughtPath] = set()

    def add(paths: Iterable[ThoughtPath], at_most: int) -> None:
        limit = min(num_rows, len(shown) + at_most)
        for path in paths:
            if path in shown or len(path) - len(top) > levels or path[: len(top)] != top:
                continue
            is_decoding = problem.thoughts[path].status is Status.DECODING
            if is_decoding and path[:-1] in decoding:
                continue
            missing = [path[:end] for end in range(len(top) + 1, len(path) + 1) if path[:end] not in shown]
            if len(shown) + len(missing) <= limit:
                shown.update(missing)
                if is_decoding:
                    decoding.add(path[:-1])
            if len(shown) >= limit:
                return

    add([best_path], num_rows)
    left = num_rows - len(shown)
    by_status = problem.by_status
    add(islice(reversed(by_status[Status.KEPT]), num_rows), left // 3)
    add(islice(by_status[Status.DECODING], num_rows), left // 3)
    add(islice(by_status[Status.DECODED], num_rows), left // 2)
    add(islice(reversed(by_status[Status.FAILED]), 4 * MAX_FAILED), min(MAX_FAILED, left // 4))
    add(islice(_siblings(problem, best_path, len(top)), 4 * num_rows), num_rows)
    recent = (Status.DECODED, Status.KEPT, Status.DECODING, Status.PRUNED, Status.FAILED)
    add(chain.from_iterable(islice(reversed(by_status[status]), num_rows) for status in recent), num_rows)
    return shown


def _siblings(problem: ShownProblem, best_path: ThoughtPath, levels_above: int) -> Iterator[ThoughtPath]:
    """Siblings along the best path, from the deepest level up: where the search is at work."""
    for depth in range(len(best_path), levels_above, -1):
        yield from problem.thoughts[best_path[: depth - 1]].children


def _rows(problem: ShownProblem, shown: set[ThoughtPath], top: ThoughtPath, best_path: ThoughtPath) -> Iterator[Row]:
    last_child: dict[ThoughtPath, ThoughtPath] = {}
    num_shown: Counter[ThoughtPath] = Counter()
    order = sorted(shown)
    probed = {path[:-1] for path in problem.probes}

    def num_thoughts(path: ThoughtPath) -> int:
        """Decoding siblings share a row; only a leaf can be decoding."""
        decoding = problem.thoughts[path].status is Status.DECODING
        return problem.thoughts[path[:-1]].num_decoding if decoding else 1

    for path in order:
        if path != top:
            last_child[path[:-1]] = path
            num_shown[path[:-1]] += num_thoughts(path)
    for path in order:
        thought = problem.thoughts[path]
        levels = [path[:end] for end in range(len(top) + 1, len(path) + 1)]
        is_last = [last_child[level[:-1]] == level for level in levels]
        bars = "".join("  " if last else "│ " for last in is_last[:-1])
        corner = ("╰─" if is_last[-1] else "├─") if is_last else ""
        yield Row(
            guides=bars + corner,
            text=thought.text,
            seen=thought.seen,
            status=thought.status,
            score=thought.score,
            error=thought.error,
            num_parents=thought.num_parents,
            num_thoughts=num_thoughts(path),
            num_hidden=len(thought.children) - num_shown[path],
            probed=path in probed,
            is_root=not path,
            on_best_path=bool(best_path) and path == best_path[: len(path)],
            is_best=bool(path) and path == best_path,
        )
