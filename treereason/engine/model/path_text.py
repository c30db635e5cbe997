"""The text of a path's tokens, read piece by piece: the pieces together are the one decoding of all its tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

LEAST_CONTEXT, MOST_CONTEXT = 4, 16
"""Tokens in front of a piece that are decoded with it, so that its spaces and bytes come out as in the middle."""
MOST_HELD = 3
"""Tokens that can wait for the rest of a character: UTF-8 has at most four bytes, and a token at least one."""
INCOMPLETE = "�"

Decode = Callable[[list[int]], str]


@dataclass
class PathText:
    """Tokens go in with `push`, their text comes out of `read`, once.

    A character whose last bytes have not come is held back, and read with the token that completes it.
    left: the last tokens whose text has been read. new: those behind them. ahead: what has been read of the new tokens'
    text all the same.
    """

    left: list[int] = field(default_factory=list)
    new: list[int] = field(default_factory=list)
    ahead: str = ""

    @property
    def complete(self) -> bool:
        """Whether the text of all tokens has been read."""
        return not self.new

    def copy(self) -> PathText:
        return PathText(list(self.left), list(self.new), self.ahead)

    def push(self, tokens: Sequence[int]) -> None:
        self.new += tokens

    def read(self, decode: Decode) -> str:
        """The text that has come since the last read."""
        if not self.new:
            return ""
        context, before = _context(self.left, decode)
        whole = decode(context + self.new)
        start = len(before) + len(self.ahead)
        if whole.endswith(INCOMPLETE):
            for num_held in range(1, min(len(self.new), MOST_HELD) + 1):
                rest = self.new[:-num_held]
                head = decode(context + rest) if rest else before + self.ahead
                if not rest or not head.endswith(INCOMPLETE):
                    sure = whole.rstrip(INCOMPLETE)
                    sure = sure if len(sure) > len(head) else head
                    self._settle(num_held, ahead=sure[len(head if rest else before) :])
                    return sure[start:]
            for num_held in range(MOST_HELD, 0, -1):  # behind bytes that are no character one may have begun
                head = decode(context + self.new[:-num_held])
                if len(self.new) > MOST_HELD and whole == head + INCOMPLETE:
                    self._settle(num_held)
                    return head[start:]
        self._settle(0)
        return whole[start:]

    def flush(self, decode: Decode) -> str:
        """As `read`, when no token can complete what is held back: it is read as it is."""
        text = self.read(decode)
        if self.new:
            context, before = _context(self.left, decode)
            text += decode(context + self.new)[len(before) + len(self.ahead) :]
            self._settle(0)
        return text

    def _settle(self, num_held: int, ahead: str = "") -> None:
        """Let all new tokens but the last ones be read, and of those what is `ahead`."""
        settled = len(self.new) - num_held
        self.left = (self.left + self.new[:settled])[-MOST_CONTEXT:]
        self.new, self.ahead = self.new[settled:], ahead


def _context(tokens: list[int], decode: Decode) -> tuple[list[int], str]:
    """The shortest context that starts with a whole character, and its text."""
    for num in range(LEAST_CONTEXT, len(tokens)):
        context = tokens[-num:]
        text = decode(context)
        if text and not text.startswith(INCOMPLETE):
            return context, text
    return tokens, decode(tokens) if tokens else ""
