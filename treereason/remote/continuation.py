"""Whether a server's chat endpoint continues what the model has begun to say, and how it is asked to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from treereason.remote.answer import Answer, read
from treereason.remote.capabilities import Form
from treereason.remote.context import Context
from treereason.remote.dialect import REFUSALS_AT_ONCE, Dialect
from treereason.remote.errors import RequestFailed
from treereason.remote.server import Server
from treereason.text import one_line

QUESTION, SAID, NEXT = "Count from one to nine in words.", "one, two, three, four,", "five"
NUM_TOKENS = 8

Ask = Callable[[dict[str, Any]], Awaitable[Answer]]
"""Sends the fields of a request that say what stands in front of the answer."""


@dataclass(frozen=True)
class Found:
    """form: None where the server continues no text, and then `reason` says why. repeats_text: as in Capabilities."""

    form: Form | None
    reason: str = ""
    repeats_text: bool = False


async def find(ask: Ask) -> Found:
    """The first form in which the server continues a text. Raises RequestFailed when it is not there to say.

    A server may take the fields and begin a new message all the same. That shows in its count of prompt tokens: what
    ends one message and begins the next stands between the text and the answer. Where it counts nothing, the words of
    the answer decide, which a weak model may have wrong: then it is taken not to continue.
    """
    [alone, reason] = await _answer(ask, ""), "it begins a new message"
    for form in get_args(Form):
        try:
            once, twice = [await _answer(ask, text, form) for text in (SAID, f"{SAID} {SAID}")]
        except RequestFailed as error:
            if error.status not in REFUSALS_AT_ONCE:
                raise
            reason = one_line(error, 120)
            continue
        text, counts = once.choices[0].text, [each.num_prompt_tokens for each in (alone, once, twice)]
        num_between = 2 * counts[1] - counts[0] - counts[2] if all(counts) else None
        repeats = text.startswith(SAID) and twice.choices[0].text.startswith(f"{SAID} {SAID}")
        goes_on = text.removeprefix(SAID if repeats else "").lstrip().startswith(NEXT)
        if (goes_on and not (num_between or 0) > 1) or (num_between is not None and num_between <= 0):
            return Found(form, repeats_text=repeats)
        reason = "it begins a new message"
    return Found(None, reason)


async def _answer(ask: Ask, said: str, form: Form = "continue_final_message") -> Answer:
    request = Context(said, (("user", QUESTION),)).fields
    return await ask(in_form(request, form) if said else request)


def in_form(request: Mapping[str, Any], form: Form) -> dict[str, Any]:
    """The request, which continues the model's message, in a form that a server knows."""
    if form == "continue_final_message":
        return dict(request)
    fields = {name: value for name, value in request.items() if name not in FLAGS}
    if form == "prefix":
        *before, last = fields["messages"]
        fields["messages"] = [*before, {**last, "prefix": True}]
    return fields


FLAGS = ("add_generation_prompt", "continue_final_message")


class Continuation:
    """The form for one server: what was seen when it was connected, or else asked once, when it is first needed."""

    def __init__(self, server: Server, dialect: Dialect) -> None:
        self._server = server
        self._dialect = dialect
        self._asking = asyncio.Lock()
        known = server.capabilities
        self._found = Found(known.continuation, known.refusal, known.repeats_text)
        self._asked = known.continuation is not None or bool(known.refusal)

    async def form(self) -> tuple[Form, bool]:
        """How to ask, and whether the text comes back with the answer. Raises RequestFailed where it continues none."""
        async with self._asking:
            if not self._asked:
                self._found, self._asked = await find(self._ask), True
        if self._found.form is None:
            raise RequestFailed(
                f"model.url={self._server.url}: the chat endpoint does not continue a text, which appended prompts and "
                f"resume() need: {self._found.reason}; vLLM, SGLang and llama.cpp do, or give "
                "model.endpoint=completions"
            )
        return self._found.form, self._found.repeats_text

    async def _ask(self, fields: dict[str, Any]) -> Answer:
        request = {**fields, "max_tokens": NUM_TOKENS, "temperature": 0.0}
        return read(await self._dialect.complete(request), ())
