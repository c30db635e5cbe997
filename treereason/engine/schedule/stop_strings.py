"""Where a stop string stands in what the model has written."""

from __future__ import annotations

from collections.abc import Sequence


def find_stop(stops: Sequence[str], text: str, num_new: int) -> tuple[int, int] | None:
    """Start and end of the first stop string in `text` that ends in its last `num_new` characters; None without one.

    The first is the one that begins first; of two that begin together, the longer.
    """
    first: tuple[int, int] | None = None
    for stop in stops:
        start = text.find(stop, max(0, len(text) - num_new - len(stop) + 1))
        if start >= 0 and (first is None or (start, -start - len(stop)) < (first[0], -first[1])):
            first = start, start + len(stop)
    return first
