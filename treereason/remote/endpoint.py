"""Which endpoint a server's model is for, where the user leaves that open."""

from __future__ import annotations

import asyncio
import json

from treereason.core import UserError
from treereason.remote.body import read_body
from treereason.remote.dialect import REFUSALS_AT_ONCE, TRIAL
from treereason.remote.environment import make_client
from treereason.remote.errors import RequestFailed
from treereason.remote.server import PROBE_TIMEOUT_S, Server
from treereason.text import one_line


async def choose(server: Server) -> str:
    """Set the server's endpoint, and its prompts' style with it; returns why it is that one.

    chat, where it answers and the model has a chat template as far as the server tells (llama.cpp tells it in /props,
    vLLM refuses a model without one); else completions, where they answer. Raises UserError where neither does.
    """
    refusals: dict[str, str] = {}
    template = await _template(server)
    for endpoint, style in (("chat", "chat"), ("completions", "plain")):
        if endpoint == "chat" and template == "":
            refusals[endpoint] = "the server's /props tell no chat template"
            continue
        server.endpoint, server.style = endpoint, style
        try:
            await _answers(server)
        except RequestFailed as error:
            refusals[endpoint] = one_line(error, 120)
            continue
        if endpoint == "completions":
            return f"not chat: {refusals['chat']}"
        return "it answers, and /props tell a chat template" if template else "it answers"
    said = "; ".join(f"{endpoint}: {reason}" for endpoint, reason in refusals.items())
    raise UserError(f"model.url={server.url}: no endpoint answers for model.name={server.name}: {said}")


async def _answers(server: Server) -> None:
    """Raises RequestFailed where the server's endpoint does not answer a short request."""
    request = {"messages": [{"role": "user", "content": TRIAL}]} if server.chat else {"prompt": TRIAL}
    try:
        await server.complete({**request, "max_tokens": 1}, final=REFUSALS_AT_ONCE)
    except RequestFailed as error:
        if error.status not in REFUSALS_AT_ONCE:
            raise
        try:
            await server.complete({**request, "max_completion_tokens": 1}, final=REFUSALS_AT_ONCE)
        except RequestFailed:
            raise error from None


async def _template(server: Server) -> str | None:
    """The model's chat template as llama.cpp's server tells it, None where none is told."""
    url = f"{server.url.removesuffix('/v1')}/props"
    try:
        async with (
            make_client(headers=server.headers, timeout=None) as client,
            asyncio.timeout(PROBE_TIMEOUT_S),
            client.stream("GET", url) as answer,
        ):
            template = json.loads(await read_body(answer))["chat_template"]
    except Exception:  # what is not there need not answer properly
        return None
    return template if isinstance(template, str) else None
