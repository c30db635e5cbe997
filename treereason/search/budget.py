"""What one problem may spend. A search near its end gets fewer and shorter children rather than overrunning."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from treereason.core import Prompt


class Budget:
    """tokens: decoded for the problem at most; seconds: of wall time. None is no limit.

    Children reserve their `max_tokens` when they start and give back what they did not use.
    """

    def __init__(
        self, tokens: int | None = None, seconds: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._left = tokens
        self._clock = clock
        self._end = None if seconds is None else clock() + seconds

    @property
    def out_of_time(self) -> bool:
        return self._end is not None and self._clock() >= self._end

    def grant(self, prompt: Prompt, k: int) -> tuple[Prompt, int]:
        """The prompt, perhaps with a lower limit, and how many of k children can be paid; 0 when nothing is left."""
        if self.out_of_time:
            return prompt, 0
        if self._left is None:
            return prompt, k
        if 0 < self._left < prompt.max_tokens:
            prompt = replace(prompt, max_tokens=self._left)
        num_children = max(0, min(k, self._left // prompt.max_tokens))
        self._left -= num_children * prompt.max_tokens
        return prompt, num_children

    def give_back(self, num_tokens: int) -> None:
        """Tokens that were granted and not decoded."""
        if self._left is not None:
            self._left += num_tokens
