"""What a completions server answered: its choices and why they ended, or the log-probabilities of an echoed prompt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from treereason.core import Finish
from treereason.remote.ending import broken_off, ending
from treereason.remote.errors import RequestFailed
from treereason.remote.logprobs import (
    TokenLogprob,
    first_tokens,
    num_of_start,
    number,
    spells_only_a_start,
    token_logprobs,
    total,
)

MAX_COUNT = 2**31


@dataclass(frozen=True)
class Choice:
    """One sample.

    text: of the whole thought, with what was known before the request.
    finish: None where the server gives no reason, or one that is not known here.
    stop: the stop string behind `text`. assumed: the server does not tell which one, or whether it was one at all.
    logprob, num_tokens: of what this request decoded. logprob: None where that of any token is not known.
    num_kept: those of its tokens that the text and its stop string hold, 0 where that is not known.
    broken_off: the reason for which the server ended it too early, "" where it did not.
    """

    text: str
    finish: Finish | None
    stop: str
    assumed: bool
    logprob: float | None
    num_tokens: int
    num_kept: int = 0
    broken_off: str = ""


@dataclass(frozen=True)
class Answer:
    """Choices in the server's order; num_prompt_tokens is 0 when the server does not tell."""

    choices: list[Choice]
    num_prompt_tokens: int


def read(value: Any, stops: Sequence[str], before: str = "", *, said: str = "", keeps_stops: bool = False) -> Answer:
    """The answer in decoded JSON.

    before: what the thought's text was, when it is resumed. said: what the server may repeat in front of each text.
    keeps_stops: as in Capabilities. Raises RequestFailed for what is not a completion.
    """
    items, usage = _items(value), _usage(value)
    items = [{**item, "text": item["text"].removeprefix(said)} for item in items] if said else items
    # An empty list beside a text tells as little as none at all.
    decoded = [None if not tokens and item["text"] else tokens for item in items for tokens in [token_logprobs(item)]]
    num_decoded = [len(tokens) for tokens in decoded if tokens is not None]
    if len(num_decoded) < len(items):
        share, left = divmod(_count(usage.get("completion_tokens")), len(items))
        num_decoded = [share + (rank < left) for rank in range(len(items))]
    choices = [
        _choice(item, tokens, num_tokens, stops, before, keeps_stops)
        for item, tokens, num_tokens in zip(items, decoded, num_decoded, strict=True)
    ]
    if len(choices) > 1:  # without tokens of their own, each was given an equal share, which is a guess
        choices = [
            choice if tokens is not None else replace(choice, num_kept=0)
            for choice, tokens in zip(choices, decoded, strict=True)
        ]
    return Answer(choices, _count(usage.get("prompt_tokens")))


def read_echo(value: Any, max_tokens: int) -> list[TokenLogprob]:
    """The prompt's tokens in the answer to a request with `echo`; what was decoded behind them is cut off.

    Raises RequestFailed when the log-probabilities of the prompt are not all there; the first token has no context,
    so its own is not asked for.
    """
    found = _items(value)[0].get("logprobs")
    found = found if isinstance(found, dict) else {}
    tokens, values = found.get("tokens"), found.get("token_logprobs")
    if not isinstance(tokens, list) or not isinstance(values, list) or len(tokens) != len(values):
        raise RequestFailed("the server's answer has no log-probabilities")
    num_prompt_tokens = _count(_usage(value).get("prompt_tokens")) or len(tokens) - max_tokens
    if not 0 < num_prompt_tokens <= len(tokens):
        raise RequestFailed("the server's answer has no log-probabilities of the prompt")
    echoed = [TokenLogprob(str(token), number(value)) for token, value in zip(tokens, values, strict=True)]
    # The first token has no context, so servers give it no value.
    if any(token.logprob is None for token in echoed[1:num_prompt_tokens]):
        raise RequestFailed("the server's answer leaves the log-probabilities of the prompt empty")
    return echoed[:num_prompt_tokens]


def read_first_tokens(value: Any) -> tuple[list[TokenLogprob], int]:
    """The likeliest first tokens of a chat's answer, and how many its prompt has. Raises RequestFailed without any."""
    items = value.get("choices") if isinstance(value, dict) else None
    told = first_tokens(items[0]) if isinstance(items, list) and items else []
    if not told:
        raise RequestFailed("the server's answer has no top_logprobs")
    return told, _count(_usage(value).get("prompt_tokens"))


def _items(value: Any) -> list[dict[str, Any]]:
    """The answer's choices with a text, by their index. Raises RequestFailed when it has none."""
    items = value.get("choices") if isinstance(value, dict) else None
    if not isinstance(items, list) or not items:
        raise RequestFailed("the server's answer has no choices")
    told = [item for item in items if isinstance(item, dict) and isinstance(item.get("text"), str)]
    if not told:
        raise RequestFailed("the server's answer has a choice without text")
    return sorted(told, key=lambda item: _count(item.get("index")))


def _usage(value: dict[str, Any]) -> dict[str, Any]:
    usage = value.get("usage")
    return usage if isinstance(usage, dict) else {}


def _choice(
    item: dict[str, Any],
    tokens: list[TokenLogprob] | None,
    num_tokens: int,
    stops: Sequence[str],
    before: str,
    keeps_stops: bool,
) -> Choice:
    # A pair of surrogates may have come in two halves; half a pair is no character, and no file takes it.
    text: str = item["text"].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    end = ending(item, before + text, stops, keeps_stops=keeps_stops)
    kept = (end.text + end.stop)[len(before) :]
    cut, logprob, num_kept = len(kept) < len(text), None, num_tokens
    if tokens is not None and not (not cut and spells_only_a_start(tokens, text)):
        num_kept = num_of_start(tokens, kept) if cut else len(tokens)
        logprob = total(token.logprob for token in tokens[:num_kept]) if num_kept or not kept else None
    elif cut:
        num_kept = 0
    broken = "" if end.stop else broken_off(item)
    return Choice(*end, logprob=logprob, num_tokens=num_tokens, num_kept=num_kept, broken_off=broken)


def _count(value: Any) -> int:
    """A count in JSON, where some servers write 3.0 or "3"; 0 for what is none."""
    whole = isinstance(value, float) and value.is_integer()
    if whole or (isinstance(value, str) and re.fullmatch("[0-9]{1,10}", value)):
        value = int(value)
    return value if type(value) is int and 0 <= value < MAX_COUNT else 0
