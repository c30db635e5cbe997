"""Which optional fields a server takes: tried once, and learned for the run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from treereason.remote.errors import RequestFailed, Transient
from treereason.remote.server import Server

REFUSALS = (400, 422, 500, 501)
"""Statuses by which servers refuse a field; llama.cpp has used 500 for it."""
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
}
"""What a server may refuse, the likeliest first, and what it costs to do without."""


def without(request: Fields, left_out: frozenset[str]) -> dict[str, Any]:
    """The request without what is named in COSTS; top_p is left out only where it changes nothing."""
    gone = left_out - ({"top_p"} if request.get("top_p") != 1 else frozenset())
    fields = {name: value for name, value in request.items() if name not in gone}
    if MORE_STOPS in gone and "stop" in fields:
        fields["stop"] = fields["stop"][:MAX_STOPS]
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
        num_attempts = None
        if form not in self._left_out:
            try:
                return await self._server.complete(request, final=REFUSALS)
            except RequestFailed as error:
                if error.status not in REFUSALS:
                    raise
                async with self._learning:
                    if form not in self._left_out:
                        self._left_out[form] = await self._refused(request)
                if not self._left_out[form]:
                    num_attempts = self._server.max_retries if isinstance(error, Transient) else 0
                    if not num_attempts:
                        raise
        return await self._server.complete(without(request, self._left_out[form]), num_attempts=num_attempts)

    async def _refused(self, request: Fields) -> frozenset[str]:
        """The fewest optional fields without which the server takes the form; none when the form is not at fault."""
        names = [name for name in COSTS if without(request, frozenset({name})) != request]
        left_out = frozenset[str]()
        while not await self._passes(without(request, left_out)):
            if len(left_out) == len(names):
                return frozenset()
            left_out |= {names[len(left_out)]}
        if not left_out:
            return left_out
        for name in names[: len(left_out) - 1]:  # left out before the one at fault was found
            if await self._passes(without(request, left_out - {name})):
                left_out -= {name}
        for _ in range(CONFIRMATIONS):  # a server in trouble answers by 500 now and then
            if await self._passes(request):
                return frozenset()
        self._tell(left_out)
        return left_out

    async def _passes(self, request: Fields) -> bool:
        """Whether the server takes a request of this form. Raises RequestFailed when it does not say."""
        trial = {name: value for name, value in request.items() if name not in CONTEXT}
        trial |= {"messages": [{"role": "user", "content": TRIAL}]} if "messages" in request else {"prompt": TRIAL}
        try:
            await self._server.complete({**trial, "max_tokens": 1}, final=REFUSALS)
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
