"""A completions server: where it is, how much may be asked of it at once, and what is done when it does not answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from treereason.core import UserError
from treereason.remote.answer import RequestFailed
from treereason.text import one_line

PROBE_TIMEOUT_S = 5.0
MAX_PAUSE_S = 60.0

_backoff = wait_exponential(multiplier=0.5, max=MAX_PAUSE_S) + wait_random(0, 0.5)


class Transient(RequestFailed):
    """A failure that may pass.

    status: of HTTP, None when there was no answer. retry_after_s: the pause that the server asked for, in seconds.
    """

    def __init__(self, message: str, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class Server:
    """Sends completions to `url`, at most `concurrency` at a time.

    What may pass (429, 5xx, a broken connection, no answer within `timeout_s` seconds) is tried `max_retries` times
    more, after the pause that the server asks for or a growing one. The key appears in no message.

    style: of the model's prompts, "plain" or "embedded". sleep: how a pause in seconds is spent.
    Raises UserError for a key that no header can carry.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        style: str,
        api_key: str = "",
        concurrency: int = 8,
        timeout_s: float = 120.0,
        max_retries: int = 4,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not (api_key.isascii() and api_key.isprintable()):
            raise UserError(
                f"model.url={url}: the API key has characters that no key has: set its environment variable again"
            )
        self.name = name
        self.style = style
        self.url = url.rstrip("/")
        self._api_key = api_key
        self.timeout_s = timeout_s
        self.max_retries = max_retries
        self._sleep = sleep
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self.concurrency = concurrency
        self._open: tuple[httpx.AsyncClient, asyncio.Semaphore] | None = None

    def probe(self) -> None:
        """Raises UserError when no server answers, or it refuses the key. Servers that do not list models are fine."""
        try:
            answer = httpx.get(f"{self.url}/models", headers=self._headers, timeout=PROBE_TIMEOUT_S)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:  # the last: no name of a host
            raise UserError(
                f"model.url={self.url}: the server cannot be reached: {one_line(error)}; is it running there?"
            ) from None
        if answer.status_code in (401, 403):
            raise UserError(
                f"model.url={self.url}: the server refuses the key: {self._said(answer)}; "
                "model.api_key_env names the environment variable that holds it"
            )

    async def complete(self, request: Mapping[str, Any]) -> Any:
        """The decoded JSON that answers one request, given without the model's name. Raises RequestFailed."""
        retrying = AsyncRetrying(
            stop=stop_after_attempt(1 + self.max_retries),
            wait=_pause,
            sleep=self._sleep,
            retry=retry_if_exception_type(Transient),
            reraise=True,
        )
        content = json.dumps({"model": self.name, **request}).encode()
        client, in_flight = self._opened()
        async with in_flight:  # kept during pauses: a server that has too much to do gets less
            return await retrying(self._post, client, content)

    async def close(self) -> None:
        """Close the connections; the next request opens new ones, in whatever loop it runs.

        Requests in flight must have ended.
        """
        if self._open is not None:
            (client, _), self._open = self._open, None
            await client.aclose()

    def _opened(self) -> tuple[httpx.AsyncClient, asyncio.Semaphore]:
        """Connections, and who may use them. Both belong to the loop that first waits for them."""
        if self._open is None:
            limits = httpx.Limits(max_connections=self.concurrency, max_keepalive_connections=self.concurrency)
            headers = {**self._headers, "Content-Type": "application/json"}
            # No timeout of httpx's own: those are for single reads, which a server that trickles never runs into.
            client = httpx.AsyncClient(headers=headers, timeout=None, limits=limits)
            self._open = client, asyncio.Semaphore(self.concurrency)
        return self._open

    async def _post(self, client: httpx.AsyncClient, content: bytes) -> Any:
        try:
            async with asyncio.timeout(self.timeout_s):
                answer = await client.post(f"{self.url}/completions", content=content)
        except TimeoutError:
            raise Transient(f"the server did not answer within {self.timeout_s:g} s (model.timeout_s)") from None
        except httpx.HTTPError as error:
            raise Transient(f"the connection to the server broke: {one_line(error)}") from None
        if answer.status_code == 429 or answer.status_code >= 500:
            raise Transient(self._said(answer), answer.status_code, _retry_after_s(answer))
        if not answer.is_success:
            raise RequestFailed(self._said(answer))
        try:
            return answer.json()
        except (ValueError, RecursionError):
            raise RequestFailed("the server's answer is not JSON") from None

    def _said(self, answer: httpx.Response) -> str:
        """Status and the server's own words, in one line. Some servers repeat the key that they refuse."""
        try:
            words = answer.json()
        except (ValueError, RecursionError):
            words = answer.text
        for key in ("error", "message", "detail"):
            if isinstance(words, dict) and key in words:
                words = words[key]
        line = " ".join(str(words).split())
        if self._api_key:
            line = line.replace(self._api_key, "***")
        return one_line(f"the server answered {answer.status_code}: {line or answer.reason_phrase}")


def _pause(state: RetryCallState) -> float:
    """Seconds until the next attempt."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, Transient) and error.retry_after_s is not None:
        return min(error.retry_after_s, MAX_PAUSE_S)
    return _backoff(state)


def _retry_after_s(answer: httpx.Response) -> float | None:
    """Seconds in a Retry-After header, which holds a number of them or a date."""
    value = answer.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
