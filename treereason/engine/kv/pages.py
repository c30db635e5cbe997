"""Numbers of the KV pages: handed out, taken back, counted. Holds no tensors."""

from __future__ import annotations

from bisect import insort


class PoolFull(Exception):
    """The pool has fewer free pages than were asked for."""


class PagePool:
    """`num_pages` pages, each owned by one forest node or free.

    Long runs come from the low end, contiguous where possible so that attention reads them in place; single
    pages, with which branches grow, come from the high end and leave the low end whole.
    """

    def __init__(self, num_pages: int) -> None:
        self.num_pages = num_pages
        self._free = list(range(num_pages))

    @property
    def num_free(self) -> int:
        return len(self._free)

    @property
    def free(self) -> tuple[int, ...]:
        """Free page numbers, ascending."""
        return tuple(self._free)

    def allocate(self, count: int) -> list[int]:
        """`count` pages, ascending. Raises PoolFull, and takes nothing, when fewer are free."""
        if count > len(self._free):
            raise PoolFull(f"{count} KV pages needed, {len(self._free)} of {self.num_pages} free")
        if count == 1:
            return [self._free.pop()]
        first = self._first_run(count)
        pages = self._free[first : first + count]
        del self._free[first : first + count]
        return pages

    def release(self, pages: list[int]) -> None:
        """Take pages back."""
        for page in pages:
            insort(self._free, page)

    def _first_run(self, count: int) -> int:
        """Index of the first `count` consecutive page numbers, 0 when there are none."""
        free = self._free
        for i in range(len(free) - count + 1):
            if free[i + count - 1] - free[i] == count - 1:
                return i
        return 0
