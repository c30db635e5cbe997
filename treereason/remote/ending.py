"""What ended a choice. Every server has words of its own for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from treereason.core import Finish

TOLD = ("stop_reason", "matched_stop", "stopping_word", "stop_sequence", "matched")
"""Where servers say which stop string came (vLLM, SGLang, llama.cpp, Anthropic, SGLang's own endpoint); None, "" or a
token id there means that the model ended its text."""
REASONS = ("finish_reason", "stop_type", "type", "stop_reason")
"""Where servers say why a text ended (OpenAI, llama.cpp, SGLang's own endpoint, Anthropic)."""
EITHER = "a stop string or the model's end"
"""What OpenAI's reason "stop" means."""

_ENDED = (
    "eos",
    "eos_token",
    "eos_token_id",
    "eos_found",
    "stop_token",
    "end",
    "end_turn",
    "end_of_text",
    "endoftext",
    "end_of_sequence",
    "eot",
    "eod",
    "complete",
    "completed",
    "tool_calls",
    "tool_call",
    "tool_use",
    "function_call",
)
_BROKEN_OFF = frozenset({"content_filter", "content_filtered", "safety", "recitation", "refusal", "abort", "aborted"})
_BROKEN_OFF |= {"cancelled", "canceled", "error", "timeout", "insufficient_system_resource"}
_STOPPED = ("stop_sequence", "stop_string", "stop_str", "stop_word", "stopping_word", "word", "stopped")
_FULL = (
    "length",
    "max_tokens",
    "max_token",
    "max_new_tokens",
    "max_output_tokens",
    "max_length",
    "model_length",
    "context_length",
    "model_context_window_exceeded",
    "limit",
)
KNOWN: dict[str, Finish | str] = {
    "stop": EITHER,
    **dict.fromkeys(_ENDED, Finish.END),
    **dict.fromkeys(_STOPPED, Finish.STOP),
    **dict.fromkeys(_FULL, Finish.LENGTH),
}


class Ending(NamedTuple):
    """text: of the whole thought. finish, stop, assumed: as in Choice."""

    text: str
    finish: Finish | None
    stop: str
    assumed: bool


def ending(item: dict[str, Any], text: str, stops: Sequence[str], *, keeps_stops: bool = False) -> Ending:
    """What ended the choice `item`, whose thought now has this text.

    keeps_stops: the server leaves a stop string in the text, so that where none is there none came.
    """
    found = [(end, stop) for stop in stops if (end := text.find(stop)) >= 0]
    if found:  # some servers leave the stop string in, and one that spans two requests is seen here only
        end, stop = min(found)
        return Ending(text[:end], Finish.STOP, stop, False)
    told = [value for fields in _parts(item) for name in TOLD if (value := fields.get(name, _ABSENT)) is not _ABSENT]
    told = [
        value for value in told if value in stops or not (isinstance(value, str) and KNOWN.get(_word(value)) == EITHER)
    ]
    reason = _reason(item)
    if reason is Finish.LENGTH:
        return Ending(text, Finish.LENGTH, "", False)
    for stop in stops:
        if stop in told:
            return Ending(text, Finish.STOP, stop, False)
    if reason is Finish.END or reason is None:
        return Ending(text, reason, "", False)
    if keeps_stops:
        return Ending(text, Finish.END, "", False)
    # Of a server that does not tell which stop string came, or whether one came at all, the first one is assumed: a
    # continued line would otherwise run on from its own end.
    if stops and (reason is Finish.STOP or not told):
        return Ending(text, Finish.STOP, stops[0], reason == EITHER or len(stops) > 1)
    return Ending(text, Finish.END, "", False)


def names_stop(item: dict[str, Any], stop: str) -> bool:
    """Whether the choice says that this stop string ended it."""
    return any(fields.get(name) == stop for fields in _parts(item) for name in TOLD)


_ABSENT = object()


def _parts(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The choice, and its reason where that holds fields of its own."""
    yield item
    if isinstance(nested := item.get("finish_reason"), dict):
        yield nested


def broken_off(item: dict[str, Any]) -> str:
    """The reason for which the server gave up the choice's text; "" where it did not."""
    return next((word for word in _words(item) if word in _BROKEN_OFF), "error" if item.get("error") else "")


def _words(item: dict[str, Any]) -> list[str]:
    """The reasons that the choice gives, in one spelling."""
    found = [fields.get(name) for fields in _parts(item) for name in REASONS]
    return [_word(value) for value in found if isinstance(value, str)]


def _word(value: str) -> str:
    return value.strip().lower().replace("-", "_").replace(" ", "_")


def _reason(item: dict[str, Any]) -> Finish | str | None:
    """Why the text ended, a clear reason before EITHER; None for no reason, or one that is not known."""
    known = [reason for word in _words(item) if (reason := KNOWN.get(word)) is not None]
    return next((reason for reason in known if reason != EITHER), EITHER if known else None)
