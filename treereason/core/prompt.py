"""What is put to the model, and how tokens are drawn."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

Style = Literal["embedded", "spans", "chat", "plain"]
"""The form of prompts that a model wants: terse as the shipped ones, by its chat template, or plain text."""


@dataclass(frozen=True)
class Prompt:
    """What is put to the model to obtain the next thought. Raises ValueError for what no engine could decode.

    text: appended to the parent's tokens when `appended`, otherwise a prompt of its own.
    shared: leading text of a fresh prompt that every problem of the run has in common (few-shot
        examples, instructions); its KV is computed once and kept for the whole run.
    system: system text of a fresh prompt, for chat templates. turns: earlier (user, model) turns of it.
        Without a chat template, both come before `shared` as they are.
    stop: decoding ends as soon as one of these strings appears, special tokens included; it is not part of the
        thought's text, and what follows goes on directly behind it. It may begin in the texts above, up to the last
        prompt or stop string.
    max_tokens: decoding ends after this many tokens.
    token_ids: given instead of text, for prompts that are not language (recorded searches, benchmarks).
    ignore_end: the end-of-text token does not end decoding; only stop strings and max_tokens do.
    today: the day that a chat template shows which asks for the date, as 2026-11-26; "" is the day of decoding. A
        server fills its own template.
    """

    text: str
    appended: bool = False
    shared: str = ""
    stop: tuple[str, ...] = ()
    max_tokens: int = 256
    token_ids: tuple[int, ...] = ()
    ignore_end: bool = False
    system: str = ""
    turns: tuple[tuple[str, str], ...] = ()
    today: str = ""

    def __post_init__(self) -> None:
        rules = {
            "text": (isinstance(self.text, str), "a text"),
            "shared": (isinstance(self.shared, str), "a text"),
            "stop": (_several(str, self.stop) and "" not in self.stop, "a tuple of texts, none of them empty"),
            "max_tokens": (type(self.max_tokens) is int and self.max_tokens > 0, "a whole number above 0"),
            "token_ids": (_several(int, self.token_ids), "a tuple of whole numbers"),
            "system": (isinstance(self.system, str), "a text"),
            "today": (self.today == "" or is_day(self.today), "a day as 2026-11-26"),
            "turns": (_are_turns(self.turns), "a tuple of pairs of texts: what the user said, what the model answered"),
        }
        _check(self, rules)

    @property
    def plain(self) -> str:
        """All of the prompt's text in order, as a model without chat template reads it."""
        return "".join([self.system, *(text for turn in self.turns for text in turn), self.shared, self.text])


def is_day(value: object) -> bool:
    """Whether a value is the text of a day, as 2026-11-26."""
    try:
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _several(kind: type, values: object) -> bool:
    return isinstance(values, (tuple, list)) and all(isinstance(value, kind) for value in values)


def _are_turns(turns: object) -> bool:
    return _several(tuple, turns) and all(len(turn) == 2 and _several(str, turn) for turn in turns)  # type: ignore[attr-defined]


LOWEST_TEMPERATURE = 1e-6
"""Below, logits over temperature may leave float32's range, and all that is drawn is the likeliest anyway."""
LEAST_SHARE = 2**-24
"""The likeliest token has a larger probability, because no vocabulary is as large."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. temperature 0 takes the most likely one.

    A token is drawn from the top_k most likely ones (0: from all); of those, from the most likely ones that together
    have the probability top_p; and from none whose probability is below min_p times that of the most likely one.
    Raises ValueError for what no engine could draw.
    """

    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0

    def __post_init__(self) -> None:
        rules = {
            "temperature": (_is_number(self.temperature) and 0 <= self.temperature < math.inf, "0 or a number above"),
            "top_p": (_is_number(self.top_p) and 0 < self.top_p <= 1, "a number above 0, up to 1"),
            "top_k": (type(self.top_k) is int and 0 <= self.top_k < 2**31, "0 or a whole number above"),
            "min_p": (_is_number(self.min_p) and 0 <= self.min_p <= 1, "a number from 0 to 1"),
        }
        _check(self, rules)

    @property
    def greedy(self) -> bool:
        """Whether only the most likely token can come, so that one prompt always gives one text."""
        return self.temperature < LOWEST_TEMPERATURE or self.top_k == 1 or self.top_p < LEAST_SHARE


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check(given: object, rules: Mapping[str, tuple[bool, str]]) -> None:
    """rules: by field, whether it is right, and what it should be. Raises ValueError for the first that is not."""
    for name, (right, wanted) in rules.items():
        if not right:
            raise ValueError(f"{type(given).__name__}.{name}={reprlib.repr(getattr(given, name))}: give {wanted}")
