"""Which optional fields a server takes: tried once, and learned for the run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from treereason.remote.errors import RequestFailed, Transient
from treereason.remote.server import Server

REFUSALS_LATE = frozenset({502, 503})
"""Statuses that are taken for a refusal only when they do not pass."""
REFUSALS_AT_ONCE = frozenset({200, *range(400, 502)}) - {401, 407, 408, 413, 425, 429}
"""Statuses by which servers refuse a field: llama.cpp has used 500 for it, others 200 with an error in the body."""
REFUSALS = REFUSALS_AT_ONCE | REFUSALS_LATE
MAX_STOPS = 4
"""The most stop strings that OpenAI takes."""
TRIAL = "1 2 3 4"
CONTEXT = ("prompt", "messages", "add_generation_prompt", "continue_final_message")
CONFIRMATIONS = 2

_log = logging.getLogger(__name__)

Fields = Mapping[str, Any]


MORE_STOPS = f"more than {MAX_STOPS} stop strings"
COSTS = {
    "n": "each child takes a request of its own",
    "logprobs": "log-probabilities are unknown",
    "ignore_eos": "texts may end before their limit",
    MORE_STOPS: "texts are cut at the others only after they were decoded further",
    "stop": "texts are cut at their stop strings only after they were decoded further",
    "top_p": "nothing, as it is 1",
    "seed": "texts do not repeat from run to run",
    "max_tokens": "nothing, as max_completion_tokens says the same",
}
"""What a server may refuse, the likeliest first, and what it costs to do without."""


def without(request: Fields, left_out: frozenset[str]) -> dict[str, Any]:
    """The request without what is named in COSTS.

    top_p is left out only where it changes nothing, and max_tokens gets its newer name.
    """
    gone = left_out - ({"top_p"} if request.get("top_p") != 1 else frozenset())
    fields = {name: value for name, value in request.items() if name not in gone}
    if MORE_STOPS in gone and "stop" in fields:
        fields["stop"] = fields["stop"][:MAX_STOPS]
    if "max_tokens" in gone and "max_tokens" in request:
        fields["max_completion_tokens"] = request["max_tokens"]
    return fields


class Dialect:
    """Sends completions to one server in the form that it takes.

    When it refuses one, a short request that cannot be at fault itself is sent with and without optional fields.
    What is learned holds for all requests of the same form, and depends on the server and the form alone, so results do
    not depend on the order in which answers come.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._left_out: dict[Any, frozenset[str]] = {}
        self._learning = asyncio.Lock()
        self._told: set[str] = set()

    def leaves_out(self, name: str, request: Fields) -> bool:
        """Whether it is known that the server refuses the field in requests of this form."""
        return name in self._left_out.get(_form(request), ())

    async def complete(self, request: Fields) -> Any:
        """The decoded JSON that answers the request, or what is left of it. Raises RequestFailed."""
        form = _form(request)
        if form not in self._left_out:
            try:
                return await self._server.complete(request, final=REFUSALS_AT_ONCE)
            except RequestFailed as error:
                if error.status not in REFUSALS:
                    raise
                async with self._learning:
                    if form not in self._left_out and (refused := await self._refused(request, error)) is not None:
                        self._left_out[form] = refused
                if not self._left_out.get(form):
                    num_attempts = self._server.max_retries if isinstance(error, Transient) else 0
                    if not num_attempts or error.status in REFUSALS_LATE:
                        raise
                    return await self._server.complete(request, num_attempts=num_attempts)
        return await self._server.complete(without(request, self._left_out[form]))

    async def _refused(self, request: Fields, error: RequestFailed) -> frozenset[str] | None:
        """The fewest optional fields without which the server takes the form; none when the form is not at fault.

        None when the server takes it in no form: it may be in trouble, and that tells nothing about its fields.
        """
        names = [name for name in COSTS if name != "max_tokens" and without(request, frozenset({name})) != request]
        renamed = frozenset[str]()
        if not await self._passes(request, frozenset(names)):
            renamed = frozenset({"max_tokens"})
            if isinstance(error, Transient) or not await self._passes(request, renamed.union(names)):
                return None
        if await self._passes(request):
            return frozenset()
        left_out, num_tried = renamed, 0
        while num_tried < len(names) and not (left_out and await self._passes(request, left_out)):
            left_out |= {names[num_tried]}
            num_tried += 1
        for name in names[: max(num_tried - 1, 0)]:  # left out before the one at fault was found
            if await self._passes(request, left_out - {name}):
                left_out -= {name}
        for _ in range(CONFIRMATIONS):  # a server in trouble answers by 500 now and then
            if await self._passes(request):
                return frozenset()
        self._tell(left_out)
        return left_out

    async def _passes(self, request: Fields, left_out: frozenset[str] = frozenset()) -> bool:
        """Whether the server takes a request of this form without these fields. Raises RequestFailed when unknown."""
        trial = {name: value for name, value in request.items() if name not in CONTEXT}
        trial |= {"messages": [{"role": "user", "content": TRIAL}]} if "messages" in request else {"prompt": TRIAL}
        try:
            await self._server.complete(without({**trial, "max_tokens": 1}, left_out), final=REFUSALS)
        except RequestFailed as error:
            if error.status not in REFUSALS:
                raise
            return False
        return True

    def _tell(self, refused: frozenset[str]) -> None:
        new = [name for name in COSTS if name in refused - self._told]
        self._told |= refused
        if new:
            _log.warning(
                "the server refuses %s: left out from now on, which costs: %s",
                " and ".join(new),
                "; ".join(COSTS[name] for name in new),
            )


def _form(request: Fields) -> Any:
    """What makes a server take or refuse a request, its prompt and its seed aside."""
    greedy = not request.get("temperature")
    names = ("n", "top_p", "top_k", "min_p", "ignore_eos")
    return greedy, tuple(request.get("stop", ())), *(request.get(name) for name in names)
