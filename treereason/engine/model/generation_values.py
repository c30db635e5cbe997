"""The values of a generation_config.json: transformers leaves a broken one out in silence, or takes any type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from treereason.text import shown

TOKENS = ("eos_token_id", "bos_token_id", "pad_token_id", "suppress_tokens", "begin_suppress_tokens")
NUMBERS = (
    "temperature", "top_p", "top_k", "min_p", "typical_p", "repetition_penalty", "length_penalty",
    "max_length", "max_new_tokens", "min_length", "min_new_tokens", "no_repeat_ngram_size",
)  # fmt: skip


def generation_refusal(values: Mapping[str, Any]) -> str | None:
    """What is wrong with the values of a generation_config.json; None when nothing is."""
    for field in TOKENS:
        tokens = values.get(field)
        for token in tokens if isinstance(tokens, list) else [tokens]:
            if token is not None and (type(token) is not int or not -1 <= token < 2**31):  # -1: there is none
                return f"{field}={shown(tokens)}: it should be a token's number, or a list of them"
    for field in NUMBERS:
        number = values.get(field)
        if number is not None and (isinstance(number, bool) or not isinstance(number, int | float)):
            return f"{field}={shown(number)}: it should be a number"
        if number is not None and not -1e15 < number < 1e15:
            return f"{field}={shown(number)}: it should be finite"
    return None
