"""Whether drafts would be right, seen before any is computed."""

from __future__ import annotations

from typing import Literal

STEPS, TOKENS = 8, 8
"""A look has so many steps, or fewer where it has seen so many tokens."""
RIGHT = 0.3
"""Of the first proposed tokens so many must have been right, or no draft is tried."""
REST, LONGEST_REST = 8, 64
"""Steps until the next look; each time that it is in vain, twice as many."""
SHARE = 0.01
"""Most of a run's time that goes into looking."""
FIRST_MS = 0.3
"""Guess for the first look, which reads prompts."""


class Lookout:
    """While it looks, drafts are asked for and compared with what is drawn without them: that costs no row.

    run_ms: what the run has taken so far, kept by the owner.
    """

    def __init__(self) -> None:
        self._steps = self._tokens = self._right = self._rested = 0
        self._rest = REST
        self.has_seen = False
        self.run_ms = self._spent_ms = 0.0
        self._num_read = 0

    def looked(self, num_tokens: int, ms: float) -> None:
        """A look has taken so long; so many tokens were read for it that nobody had read."""
        self._spent_ms += ms
        self._num_read += num_tokens

    def asking_ms(self, num_tokens: int) -> float:
        """What it takes to ask for drafts where so many tokens are to be read first, by what looking took."""
        return self._spent_ms / self._num_read * num_tokens if self._num_read else FIRST_MS

    def next(self) -> Literal["look", "plain", "draft"]:
        """What the step may do; called once a step. draft: proposed tokens are right often enough to try them."""
        if self.has_seen:
            return "draft"
        if self._rested:
            self._rested -= 1
            return "plain"
        if self._steps >= STEPS or self._tokens >= TOKENS:
            self.has_seen = self._right >= RIGHT * self._tokens > 0
            self._steps = self._tokens = self._right = 0
            if self.has_seen:
                return "draft"
            self._rested, self._rest = self._rest - 1, min(LONGEST_REST, 2 * self._rest)
            return "plain"
        if max(FIRST_MS, self._spent_ms) > SHARE * self.run_ms:
            return "plain"
        self._steps += 1
        return "look"

    def note(self, right: bool) -> None:
        """A token was drawn; whether it was the one that was proposed first."""
        self._tokens += 1
        self._right += right
