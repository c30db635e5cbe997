"""What a completions server answered: its choices and why they ended, or the log-probabilities of an echoed prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from treereason.core import Finish

MAX_COUNT = 2**31
STOP_FIELDS = ("stop_reason", "matched_stop")
"""Where vLLM and SGLang say which stop string came; None or a token id there means that the model ended its text."""


class RequestFailed(Exception):
    """No usable answer came back; the text gives the reason in one line."""


@dataclass(frozen=True)
class Choice:
    """One sample.

    text: of the whole thought, with what was known before the request.
    finish: None where the server gives no reason, or one that is not known here.
    stop: the stop string behind `text`. assumed: the server does not tell which one, or whether it was one at all.
    logprob, num_tokens: of what this request decoded.
    """

    text: str
    finish: Finish | None
    stop: str
    assumed: bool
    logprob: float
    num_tokens: int


@dataclass(frozen=True)
class Answer:
    """Choices in the server's order; num_prompt_tokens is 0 when the server does not tell."""

    choices: list[Choice]
    num_prompt_tokens: int


class EchoedToken(NamedTuple):
    """A token of the prompt as the server spells it, and its log-probability: 0 for the first, which has no context."""

    text: str
    logprob: float


def read(value: Any, stops: Sequence[str], before: str = "") -> Answer:
    """The answer in decoded JSON. before: what the thought's text was, when it is resumed.

    Raises RequestFailed for what is not a completion.
    """
    items, usage = _items(value), _usage(value)
    logprobs = [_logprobs(item) for item in items]
    num_decoded = [len(values) for values in logprobs if values is not None]
    if len(num_decoded) < len(items):
        share, left = divmod(_count(usage.get("completion_tokens")), len(items))
        num_decoded = [share + (rank < left) for rank in range(len(items))]
    choices = [
        Choice(*_ending(item, stops, before), logprob=sum(values or ()), num_tokens=num_tokens)
        for item, values, num_tokens in zip(items, logprobs, num_decoded, strict=True)
    ]
    return Answer(choices, _count(usage.get("prompt_tokens")))


def read_echo(value: Any, max_tokens: int) -> list[EchoedToken]:
    """The prompt's tokens in the answer to a request with `echo`; what was decoded behind them is cut off.

    Raises RequestFailed when the log-probabilities of the prompt are not all there.
    """
    found = _items(value)[0].get("logprobs")
    found = found if isinstance(found, dict) else {}
    tokens, values = found.get("tokens"), found.get("token_logprobs")
    if not isinstance(tokens, list) or not isinstance(values, list) or len(tokens) != len(values):
        raise RequestFailed("the server's answer has no log-probabilities")
    num_prompt_tokens = _count(_usage(value).get("prompt_tokens")) or len(tokens) - max_tokens
    if not 0 < num_prompt_tokens <= len(tokens):
        raise RequestFailed("the server's answer has no log-probabilities of the prompt")
    # The first token has no context, so servers give it no value.
    if not all(isinstance(value, int | float) for value in values[1:num_prompt_tokens]):
        raise RequestFailed("the server's answer leaves the log-probabilities of the prompt empty")
    echoed = [EchoedToken(str(token), _number(value)) for token, value in zip(tokens, values, strict=True)]
    return echoed[:num_prompt_tokens]


def _items(value: Any) -> list[dict[str, Any]]:
    """The answer's choices by their index. Raises RequestFailed when it has none, or one without text."""
    items = value.get("choices") if isinstance(value, dict) else None
    if not isinstance(items, list) or not items:
        raise RequestFailed("the server's answer has no choices")
    if not all(isinstance(item, dict) and isinstance(item.get("text"), str) for item in items):
        raise RequestFailed("the server's answer has a choice without text")
    return sorted(items, key=lambda item: _count(item.get("index")))


def _usage(value: dict[str, Any]) -> dict[str, Any]:
    usage = value.get("usage")
    return usage if isinstance(usage, dict) else {}


def _ending(item: dict[str, Any], stops: Sequence[str], before: str) -> tuple[str, Finish | None, str, bool]:
    """Text, what ended it, the stop string behind it, and whether that is assumed."""
    text: str = before + item["text"]
    found = [(end, stop) for stop in stops if (end := text.find(stop)) >= 0]
    if found:  # some servers leave the stop string in, and one that spans two requests is seen here only
        end, stop = min(found)
        return text[:end], Finish.STOP, stop, False
    reason = item.get("finish_reason")
    if reason == "length":
        return text, Finish.LENGTH, "", False
    if reason != "stop":
        return text, None, "", False
    told = [item[field] for field in STOP_FIELDS if field in item]
    for stop in stops:
        if stop in told:
            return text, Finish.STOP, stop, False
    # "stop" means a stop string or the end of the text. Of a server that does not tell which, a stop string is
    # assumed: a continued line would otherwise run on from its own end.
    if stops and not told:
        return text, Finish.STOP, stops[0], True
    return text, Finish.END, "", False


def _logprobs(item: dict[str, Any]) -> list[float] | None:
    """Log-probabilities of the choice's tokens, None when the server does not tell."""
    found = item.get("logprobs")
    found = found if isinstance(found, dict) else {}
    if isinstance(values := found.get("token_logprobs"), list):
        return [_number(value) for value in values]
    if isinstance(tokens := found.get("content"), list):  # llama.cpp answers in the form of chat completions
        return [_number(token.get("logprob") if isinstance(token, dict) else None) for token in tokens]
    return None


def _number(value: Any) -> float:
    """The value as a float, 0 for what is not a number. Raises RequestFailed for one that is too large for a float."""
    try:
        return float(value) if isinstance(value, int | float) else 0.0
    except OverflowError:
        raise RequestFailed("the server's answer has a log-probability too large for a number") from None


def _count(value: Any) -> int:
    return value if type(value) is int and 0 <= value < MAX_COUNT else 0
