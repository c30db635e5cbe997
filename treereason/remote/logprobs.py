"""Log-probabilities as servers write them. What was not told is None, never 0: that would be certain."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import zip_longest
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
    of tokens; llama.cpp also for completions), and a bare list of tokens, numbers or (log-probability, id, text) as
    SGLang writes them.
    """
    found = item.get("logprobs")
    if not isinstance(found, dict):
        found = {"content": found if isinstance(found, list) else item.get("completion_probabilities")}
    values, tokens = found.get("token_logprobs"), found.get("content")
    if isinstance(values, list) and (values or not tokens):
        names = found.get("tokens")
        names = names if isinstance(names, list) else [""] * len(values)
        return [TokenLogprob(_text(name), number(value)) for name, value in zip_longest(names, values)]
    return [_token(token) for token in tokens] if isinstance(tokens, list) else None


def first_tokens(item: Any) -> list[TokenLogprob]:
    """The tokens that a chat's choice may begin with, in the server's order; none where it does not tell them."""
    for name in ("logprobs", "content", 0, "top_logprobs"):
        if isinstance(name, str):
            item = item.get(name) if isinstance(item, dict) else None
        else:
            item = item[name] if isinstance(item, list) and item else None
    told = [_token(token) for token in item] if isinstance(item, list) else []
    return [token for token in told if token.text and token.logprob is not None]


def spells_only_a_start(tokens: Sequence[TokenLogprob], text: str) -> bool:
    """Whether the tokens end before the text does, as where a server tells of its first tokens only."""
    spelled = "".join(token.text for token in tokens)
    return all(token.text for token in tokens) and len(spelled) < len(text) and text.startswith(spelled)


def total(logprobs: Iterable[float | None]) -> float | None:
    """The sum, None when one of them is not known or no float holds it."""
    values = list(logprobs)
    added = sum(value for value in values if value is not None)
    return added if None not in values and math.isfinite(added) else None


def num_of_start(tokens: Sequence[TokenLogprob], text: str) -> int:
    """How many of the first tokens spell `text`; a token that spans its end counts. 0 when none do."""
    num_spelled = 0
    for num_tokens, token in enumerate(tokens):
        if num_spelled >= len(text):
            return num_tokens
        if not token.text or not (
            text.startswith(token.text, num_spelled) or token.text.startswith(text[num_spelled:])
        ):
            return 0
        num_spelled += len(token.text)
    return len(tokens) if num_spelled >= len(text) else 0


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
        text = next((value[name] for name in ("token", "content", "text") if name in value), "")
        return TokenLogprob(_text(text), number(value.get("logprob")))
    if isinstance(value, list) and len(value) == 3:
        return TokenLogprob(_text(value[2]), number(value[0]))
    return TokenLogprob("", number(value))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
