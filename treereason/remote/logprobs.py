"""Log-probabilities as servers write them. What was not told is None, never 0: that would be certain."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

HIGHEST = 1e-3
"""Rounding may put the log-probability of a sure token above 0, but not higher than this."""


class TokenLogprob(NamedTuple):
    """A token as the server spells it, "" where it does not; its log-probability, None where that is not known."""

    text: str
    logprob: float | None


def token_logprobs(item: dict[str, Any]) -> list[TokenLogprob] | None:
    """The decoded tokens of a choice, None when the server does not tell them.

    Read are OpenAI's forms for completions (`tokens` beside `token_logprobs`; vLLM, SGLang) and chat (a list `content`
    of tokens; llama.cpp also for completions), and a bare list of tokens or numbers.
    """
    found = item.get("logprobs")
    if not isinstance(found, dict):
        found = {"content": found if isinstance(found, list) else item.get("completion_probabilities")}
    if isinstance(values := found.get("token_logprobs"), list):
        names = found.get("tokens")
        names = names if isinstance(names, list) and len(names) == len(values) else [""] * len(values)
        return [TokenLogprob(_text(name), number(value)) for name, value in zip(names, values, strict=True)]
    if isinstance(tokens := found.get("content"), list):
        return [_token(token) for token in tokens]
    return None


def total(logprobs: Iterable[float | None]) -> float | None:
    """The sum, None when one of them is not known."""
    values = list(logprobs)
    return sum(value for value in values if value is not None) if None not in values else None


def total_of_start(tokens: Sequence[TokenLogprob], text: str) -> float | None:
    """The sum over those first tokens that spell `text`; a token that spans its end counts. None when none do."""
    spelled = ""
    for num_tokens, token in enumerate(tokens):
        if len(spelled) >= len(text):
            return total(token.logprob for token in tokens[:num_tokens])
        spelled += token.text
        if not token.text or not (text.startswith(spelled) or spelled.startswith(text)):
            return None
    return total(token.logprob for token in tokens) if len(spelled) >= len(text) else None


def number(value: Any) -> float | None:
    """A log-probability, None for what is none. No float is too large: JSON numbers may be."""
    if type(value) not in (int, float):
        return None
    try:
        logprob = float(value)
    except OverflowError:
        return None
    return logprob if math.isfinite(logprob) and logprob <= HIGHEST else None


def _token(value: Any) -> TokenLogprob:
    if isinstance(value, dict):
        return TokenLogprob(_text(value.get("token", value.get("content"))), number(value.get("logprob")))
    return TokenLogprob("", number(value))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
