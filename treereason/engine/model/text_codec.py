"""A tokenizer as the engine uses it: text to tokens and back, at the front of a path and in its middle."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

from treereason.engine.model.panics import no_panic
from treereason.text import one_line

ANCHORS = (".", "\n", "a")
"""What stands in front of a text to encode it as in the middle; one that does not melt with it is looked for."""


class TextCodec:
    """Encodes and decodes one token for one, special tokens included; the tokenizer cleans up no spaces any more."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        tokenizer.clean_up_tokenization_spaces = False
        self._token_texts: dict[int, str] = {}

    def encode_front(self, text: str) -> list[int]:
        """Token ids of a text at the front, behind the special tokens that the tokenizer puts there.

        What it puts behind a text (`add_eos_token`) is left out: the text goes on. Raises ValueError, one line.
        """
        tokens = self.tokenize(text, special=True)
        behind = self._added[1]
        return tokens[: -len(behind)] if behind and tokens[-len(behind) :] == behind else tokens

    def encode_middle(self, text: str) -> list[int]:
        """Token ids of a text behind other tokens, without a space of the tokenizer's own. Raises ValueError, one line.

        Of several ways to encode it, the first that decodes to `text` itself; if none does, to the shortest text.
        Some tokenizers put a space behind special tokens too, so the last way is piece by piece.
        """
        found: list[tuple[int, list[int]]] = []
        for anchor, ids in [("", list[int]()), *self._anchors] if text else ():
            tokens = self.tokenize(anchor + text, special=False)
            if tokens[: len(ids)] == ids:
                tokens = tokens[len(ids) :]
                seen = self._text_in_middle(tokens)
                if seen == text:
                    return tokens
                found.append((len(seen), tokens))
        pieces = [piece for piece in self._special.split(text) if piece] if self._special else []
        if len(pieces) > 1:
            tokens = [token for piece in pieces for token in self.encode_middle(piece)]
            if self._text_in_middle(tokens) == text:
                return tokens
        return min(found, key=lambda one: one[0])[1] if found else []

    def decode(self, tokens: list[int]) -> str:
        """Text of the tokens, without the special ones that the tokenizer puts in front of a text."""
        front = self._added[0]
        if front and tokens[: len(front)] == front:
            tokens = tokens[len(front) :]
        with no_panic():
            text: str = self._tokenizer.decode(tokens, skip_special_tokens=False) if tokens else ""
        return text

    def token_text(self, token: int) -> str:
        """Text of one token in the middle; "�" where it ends or begins within a character."""
        if token not in self._token_texts:
            self._token_texts[token] = self.decode([token, token])[len(self.decode([token])) :]
        return self._token_texts[token]

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """As the tokenizer does it. Raises ValueError, one line, for what it refuses."""
        try:
            text.encode()  # names half a surrogate pair, which JSON may hold, better than tokenizers do
            with no_panic():
                tokens: list[int] = self._tokenizer(text, add_special_tokens=special)["input_ids"]
        except Exception as error:  # of any type: normalizers and the like are programs
            raise ValueError(f"the tokenizer refuses the prompt: {one_line(error)}") from None
        return tokens

    @cached_property
    def _added(self) -> tuple[list[int], list[int]]:
        """The special tokens that the tokenizer puts in front of a text, and those behind it."""
        plain, whole = self._probe("a", special=False), self._probe("a", special=True)
        for start in range(len(whole) - len(plain) + 1):
            if whole[start : start + len(plain)] == plain:
                return whole[:start], whole[start + len(plain) :]
        return [], []

    @cached_property
    def _special(self) -> re.Pattern[str] | None:
        """The tokens that stand in a text as they are; a group, so that a split keeps them."""
        texts = sorted(self._tokenizer.get_added_vocab(), key=len, reverse=True)
        return re.compile(f"({'|'.join(map(re.escape, texts))})") if texts else None

    @cached_property
    def _anchors(self) -> list[tuple[str, list[int]]]:
        """Those that the tokenizer knows, with their tokens."""
        anchors = [(anchor, self._probe(anchor, special=False)) for anchor in ANCHORS]
        return [(anchor, tokens) for anchor, tokens in anchors if tokens]

    def _probe(self, text: str, *, special: bool) -> list[int]:
        """As `tokenize`; no tokens for a text that the tokenizer refuses."""
        try:
            return self.tokenize(text, special=special)
        except ValueError:
            return []

    def _text_in_middle(self, tokens: list[int]) -> str:
        anchor = self._anchors[0][1] if self._anchors else []
        return self.decode(anchor + tokens)[len(self.decode(anchor)) :]
