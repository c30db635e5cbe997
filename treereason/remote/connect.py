"""A server before its first run: whether it is there, which endpoint is meant, and what it can do."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from treereason.remote.endpoint import choose
from treereason.remote.loop_thread import LoopThread
from treereason.remote.probing import Probe
from treereason.remote.server import Server

LONGEST_S = 60.0
"""What short requests may take together: no run waits longer to know what its server can do."""


def connect(server: Server) -> None:
    """Find out about the server; an endpoint that is "auto" is decided.

    Raises UserError when nobody answers, the key is refused, or no endpoint is found.
    """
    server.probe()
    loop = LoopThread("treereason-probe")
    try:
        loop.run(_find_out(server))
    finally:
        loop.run(server.close())
        loop.close()


async def _find_out(server: Server) -> None:
    why = await choose(server) if server.endpoint == "auto" else "as asked for"
    try:
        async with asyncio.timeout(LONGEST_S):
            await Probe(server).run()
    except TimeoutError:
        slow = f"not known: the server is slow, and was asked for {LONGEST_S:g} s only"
        server.capabilities = replace(server.capabilities, told={"what it can do": slow})
    known = server.capabilities
    server.capabilities = replace(known, told={"endpoint": f"{server.endpoint} ({why})", **known.told})
