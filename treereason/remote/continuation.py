"""Whether a server's chat endpoint continues what the model has begun to say."""

from __future__ import annotations

import asyncio

from treereason.remote.context import Context
from treereason.remote.dialect import REFUSALS_AT_ONCE, TRIAL, Dialect
from treereason.remote.errors import RequestFailed
from treereason.remote.server import Server
from treereason.text import one_line


class Continuation:
    """Asks one server once, by a short request that cannot be at fault itself; the answer holds for the run."""

    def __init__(self, server: Server, dialect: Dialect) -> None:
        self._server = server
        self._dialect = dialect
        self._asking = asyncio.Lock()
        self._asked = False
        self._refusal: str | None = None

    async def check(self) -> None:
        """Raises RequestFailed where the server refuses it."""
        async with self._asking:
            if not self._asked:
                trial = Context(TRIAL, (("user", TRIAL),)).fields
                try:
                    await self._dialect.complete({**trial, "max_tokens": 1, "temperature": 1.0})
                except RequestFailed as error:
                    if error.status not in REFUSALS_AT_ONCE:
                        raise
                    self._refusal = (
                        f"model.url={self._server.url}: the chat endpoint does not continue a text, which appended "
                        f"prompts and resume() need: {one_line(error, 120)}; vLLM and SGLang do, or give "
                        "model.endpoint=completions"
                    )
                self._asked = True
        if self._refusal is not None:
            raise RequestFailed(self._refusal)
