"""What one problem may spend. A search near its end gets fewer and shorter children rather than overrunning."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from treereason.core import Prompt


@dataclass(frozen=True)
class Grant:
    """What one child may decode, and the time at which it was told so; None for one that the record tells of."""

    max_tokens: int
    since: float | None


class Budget:
    """tokens: decoded for the problem at most; seconds: of wall time. None is without limit.

    Children reserve their `max_tokens` when they start and give back what they did not use. How many tokens fit into
    the time that is left is known from the children before.
    """

    def __init__(
        self, tokens: int | None = None, seconds: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._left = tokens
        self._clock = clock
        self._end = None if seconds is None else clock() + seconds
        self._seconds_decoding = 0.0
        self._num_decoded = 0

    @property
    def tokens_left(self) -> int | None:
        """Tokens that no child has decoded or reserved; None without a limit."""
        return self._left

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return self._left is not None or self._end is not None

    @property
    def spent(self) -> bool:
        """Whether nothing is left."""
        return self._left == 0 or self.out_of_time

    @property
    def out_of_time(self) -> bool:
        return self._end is not None and self._clock() >= self._end

    def grant(self, prompt: Prompt, k: int) -> tuple[Prompt, list[Grant]]:
        """The prompt, perhaps with a lower limit, and a grant for each of k children that can be paid."""
        limit = min(prompt.max_tokens, self._tokens_in_time())
        if self._left is not None:
            limit = min(limit, self._left)
        if limit < 1:
            return prompt, []
        if self._left is not None:
            k = min(k, self._left // limit)
            self._left -= k * limit
        return replace(prompt, max_tokens=limit), [Grant(limit, self._clock())] * k

    def grant_again(self, limits: Sequence[int]) -> list[Grant]:
        """The grants of children that were decoded before, whatever the time is now."""
        if self._left is not None:
            self._left -= sum(limits)
        return [Grant(limit, None) for limit in limits]

    def begin_earlier(self, seconds: float) -> None:
        """Count time that the problem has spent before."""
        if self._end is not None:
            self._end -= seconds

    def settle(self, grant: Grant, num_decoded: int, seconds: float = 0.0) -> None:
        """A child is done: what it did not decode goes back, and how long it took is remembered.

        seconds: that it took, where it was decoded before.
        """
        self._seconds_decoding += seconds if grant.since is None else self._clock() - grant.since
        self._num_decoded += num_decoded
        if self._left is not None:
            self._left += grant.max_tokens - num_decoded

    def _tokens_in_time(self) -> int:
        """How many tokens a child can decode until the time is up; no limit before the first child is done."""
        if self.out_of_time:
            return 0
        if self._end is None or not self._num_decoded or not self._seconds_decoding:
            return sys.maxsize
        return int((self._end - self._clock()) * self._num_decoded / self._seconds_decoding)
