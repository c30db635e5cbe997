"""Which thoughts of a tree are shown when only a few rows are free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

from treereason.core import Status
from treereason.display.thoughts import ShownProblem, ShownThought
from treereason.events import ThoughtPath

MAX_FAILED = 3


@dataclass(frozen=True)
class Row:
    """One shown thought, copied so that it can be drawn while the tree goes on growing.

    guides: the lines that tie it to its parent, two cells a level.
    together: thoughts that the row stands for: siblings that are being decoded share one.
    hidden: direct children that no row stands for.
    probed: whether a probe of it is being decoded.
    """

    guides: str
    text: str
    status: Status
    score: float | None
    error: str
    num_parents: int
    together: int
    hidden: int
    probed: bool
    is_root: bool
    on_best_path: bool
    is_best: bool


@dataclass(frozen=True)
class Viewport:
    """At most as many rows as asked for. `above` levels and `more` thoughts in all are not shown."""

    rows: tuple[Row, ...] = ()
    above: int = 0
    more: int = 0

    @property
    def height(self) -> int:
        return len(self.rows) + (self.above > 0) + (self.more > 0)


def choose(tree: ShownProblem, height: int, max_depth: int = 12) -> Viewport:
    """The best path, the frontier and what happened last, in at most `height` rows and `max_depth` levels.

    The work grows with `height` and the frontier, not with the tree.
    """
    if height < 3:
        return Viewport(more=len(tree.nodes))
    best = tree.best()
    best_path = best.path if best else ()
    levels = min(max_depth, height * 2 // 3, height - 3)
    top = best_path[: max(0, len(best_path) - levels)]
    budget = height - (len(top) > 0) - (len(tree.nodes) > height)
    shown = _pick(tree, best_path, top, budget, levels)
    rows = tuple(_rows(tree, shown, top, best_path))
    standing = sum(row.together for row in rows)
    return Viewport(rows, above=len(top), more=len(tree.nodes) - standing - len(top))


def _pick(tree: ShownProblem, best_path: ThoughtPath, top: ThoughtPath, budget: int, levels: int) -> set[ThoughtPath]:
    shown: set[ThoughtPath] = {top}
    decoding: set[ThoughtPath] = set()

    def add(paths: Iterable[ThoughtPath], room: int) -> None:
        limit = min(budget, len(shown) + room)
        for path in paths:
            if path in shown or len(path) - len(top) > levels or path[: len(top)] != top:
                continue
            is_decoding = tree.nodes[path].status is Status.DECODING
            if is_decoding and path[:-1] in decoding:
                continue
            missing = [path[:end] for end in range(len(top) + 1, len(path) + 1) if path[:end] not in shown]
            if len(shown) + len(missing) <= limit:
                shown.update(missing)
                if is_decoding:
                    decoding.add(path[:-1])
            if len(shown) >= limit:
                return

    add([best_path], budget)
    left = budget - len(shown)
    add(islice(reversed(tree.by_status[Status.KEPT]), budget), left // 3)
    add(islice(tree.by_status[Status.DECODING], budget), left // 3)
    add(islice(tree.by_status[Status.DECODED], budget), left // 2)
    add(islice(reversed(tree.by_status[Status.FAILED]), 4 * MAX_FAILED), min(MAX_FAILED, left // 4))
    add(islice(_siblings(tree, best_path, len(top)), 4 * budget), budget)
    recent = (Status.DECODED, Status.KEPT, Status.DECODING, Status.PRUNED, Status.FAILED)
    add(chain.from_iterable(islice(reversed(tree.by_status[s]), budget) for s in recent), budget)
    return shown


def _siblings(tree: ShownProblem, best_path: ThoughtPath, above: int) -> Iterator[ThoughtPath]:
    """Siblings along the best path, from the deepest level up: where the search is at work."""
    for depth in range(len(best_path), above, -1):
        yield from tree.nodes[best_path[: depth - 1]].children


def _rows(tree: ShownProblem, shown: set[ThoughtPath], top: ThoughtPath, best_path: ThoughtPath) -> Iterator[Row]:
    last_child: dict[ThoughtPath, ThoughtPath] = {}
    num_shown: Counter[ThoughtPath] = Counter()
    order = sorted(shown)
    probed = {path[:-1] for path in tree.probes}

    def together(path: ThoughtPath) -> int:
        """Decoding siblings share a row; only a leaf can be decoding."""
        return tree.nodes[path[:-1]].decoding if tree.nodes[path].status is Status.DECODING else 1

    for path in order:
        if path != top:
            last_child[path[:-1]] = path
            num_shown[path[:-1]] += together(path)
    for path in order:
        node: ShownThought = tree.nodes[path]
        levels = [path[:end] for end in range(len(top) + 1, len(path) + 1)]
        is_last = [last_child[level[:-1]] == level for level in levels]
        bars = "".join("  " if last else "│ " for last in is_last[:-1])
        corner = ("╰─" if is_last[-1] else "├─") if is_last else ""
        yield Row(
            guides=bars + corner,
            text=node.text,
            status=node.status,
            score=node.score,
            error=node.error,
            num_parents=node.num_parents,
            together=together(path),
            hidden=len(node.children) - num_shown[path],
            probed=path in probed,
            is_root=not path,
            on_best_path=bool(best_path) and path == best_path[: len(path)],
            is_best=bool(path) and path == best_path,
        )
