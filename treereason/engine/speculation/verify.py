"""Which proposed tokens are taken: as long as each equals the one that is drawn in its place."""

from __future__ import annotations

from collections.abc import Callable

from treereason.engine.kv.cache import KVCache
from treereason.engine.kv.forest import Forest
from treereason.engine.schedule.draft import LaidDraft

Take = Callable[[int], int]
"""Gives the branch what the step's row draws for it, and returns that token."""


def verify(laid: LaidDraft, first_row: int, take: Take, forest: Forest, cache: KVCache) -> list[int]:
    """Let the branch take what the rows of a step draw, one token after another, while the draft was right.

    first_row: the branch's own; those of the draft's tokens come behind it. Pages of what was wrong return now; KV of
    what was right moves into the branch's node where it lies elsewhere. Returns the draft's tokens that were right.
    """
    branch, node = laid.branch, laid.branch.node
    places = [(part, index, part.pages) for part, index in laid.places]
    laid.take_back(forest)
    right: list[int] = []
    moves: list[tuple[int, int]] = []
    index = -1
    while True:
        token = take(first_row + 1 + index)
        found = None if branch.done else laid.next_of(index, token)
        if found is None:
            break
        branch.cost.kv_token_steps += node.num_cached
        index = found
        part, at, pages = places[index]
        if part is not node:
            moves.append((_slot(pages, at, forest), _slot(node.pages, node.num_cached, forest)))
        forest.compute(node, 1)
        right.append(index)
    if moves:
        cache.move([source for source, _ in moves], [target for _, target in moves])
    forest.trim(node)
    return right


def _slot(pages: list[int], index: int, forest: Forest) -> int:
    return pages[index // forest.page_size] * forest.page_size + index % forest.page_size
