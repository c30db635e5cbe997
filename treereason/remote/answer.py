"""What a completions server answered: its choices, with what their tokens were worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MAX_COUNT = 2**31


class RequestFailed(Exception):
    """No completion came back; the text says in one line why."""


@dataclass(frozen=True)
class Choice:
    """One sample.

    stop: the stop string behind `text`, "" when something else ended it.
    ended: the model ended its text; nothing can be sampled right behind it.
    """

    text: str
    stop: str
    ended: bool
    logprob: float
    num_tokens: int


@dataclass(frozen=True)
class Answer:
    """Choices in the server's order; num_prompt_tokens is 0 when the server does not tell."""

    choices: list[Choice]
    num_prompt_tokens: int


def read(value: Any, stops: Sequence[str]) -> Answer:
    """The answer in decoded JSON. Raises RequestFailed for what is no completion."""
    items = value.get("choices") if isinstance(value, dict) else None
    if not isinstance(items, list) or not items:
        raise RequestFailed("the server's answer holds no choices")
    if not all(isinstance(item, dict) and isinstance(item.get("text"), str) for item in items):
        raise RequestFailed("the server's answer holds a choice without text")
    items = sorted(items, key=lambda item: _count(item.get("index")))
    usage = value.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    logprobs = [_logprobs(item) for item in items]
    num_decoded = [len(values) for values in logprobs if values is not None]
    if len(num_decoded) < len(items):
        share, left = divmod(_count(usage.get("completion_tokens")), len(items))
        num_decoded = [share + (rank < left) for rank in range(len(items))]
    choices = [
        Choice(*_ending(item, stops), logprob=sum(values or ()), num_tokens=num_tokens)
        for item, values, num_tokens in zip(items, logprobs, num_decoded, strict=True)
    ]
    return Answer(choices, _count(usage.get("prompt_tokens")))


def _ending(item: dict[str, Any], stops: Sequence[str]) -> tuple[str, str, bool]:
    """Text, the stop string behind it, and whether the model ended it."""
    text: str = item["text"]
    found = [(end, stop) for stop in stops if (end := text.find(stop)) >= 0]
    if found:  # some servers leave the stop string in
        end, stop = min(found)
        return text[:end], stop, False
    if item.get("finish_reason") != "stop":
        return text, "", False
    if item.get("stop_reason") in stops:
        return text, item["stop_reason"], False
    # "stop" means a stop string or the end of the text. Servers that tell which have a field for it; of the others
    # the stop string is assumed, without which a continued line would run on from its own end.
    if stops and "stop_reason" not in item:
        return text, stops[0], False
    return text, "", True


def _logprobs(item: dict[str, Any]) -> list[float] | None:
    """Log-probabilities of the choice's tokens, None when the server does not tell."""
    found = item.get("logprobs")
    values = found.get("token_logprobs") if isinstance(found, dict) else None
    if not isinstance(values, list):
        return None
    try:
        return [float(value) if isinstance(value, int | float) else 0.0 for value in values]
    except OverflowError:
        raise RequestFailed("the server's answer holds a log-probability too large for a number") from None


def _count(value: Any) -> int:
    return value if type(value) is int and 0 <= value < MAX_COUNT else 0
