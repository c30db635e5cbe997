"""A completions server: where it is, how much may be asked of it at once, and what is done when it does not answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
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

PROBE_TIMEOUT_S = 5.0
MAX_PAUSE_S = 60.0
MAX_MESSAGE = 300

_backoff = wait_exponential(multiplier=0.5, max=MAX_PAUSE_S) + wait_random(0, 0.5)


class _Transient(RequestFailed):
    """A failure that may pass. retry_after: seconds that the server asked for."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Server:
    """Sends completions to `url`, at most `concurrency` at a time.

    What may pass (429, 5xx, a broken connection, no answer within `timeout_s`) is tried `max_retries` times more,
    after the pause that the server asks for or a growing one. The key appears in no message.
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
    ) -> None:
        if not (api_key.isascii() and api_key.isprintable()):
            raise UserError(f"model.url={url}: the API key holds characters that no key has")
        self.name = name
        self.style = style
        self.url = url.rstrip("/")
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._max_retries = max_retries
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._concurrency = concurrency
        self._connect()

    def probe(self) -> None:
        """Raises UserError when nobody answers, or the key is refused. Servers that do not list models are fine."""
        try:
            answer = httpx.get(f"{self.url}/models", headers=self._headers, timeout=PROBE_TIMEOUT_S)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:  # the last: no name of a host
            raise UserError(f"model.url={self.url}: the server cannot be reached: {_reason(error)}") from None
        if answer.status_code in (401, 403):
            raise UserError(
                f"model.url={self.url}: the server refuses the key: {self._said(answer)}; "
                "model.api_key_env names the environment variable that holds it"
            )

    async def complete(self, request: Mapping[str, Any]) -> Any:
        """The decoded answer to one request. Raises RequestFailed."""
        retrying = AsyncRetrying(
            stop=stop_after_attempt(1 + self._max_retries),
            wait=_pause,
            retry=retry_if_exception_type(_Transient),
            reraise=True,
        )
        content = json.dumps({"model": self.name, **request}).encode()
        async with self._slots:  # kept during pauses: a server that has too much to do gets less
            return await retrying(self._post, content)

    async def close(self) -> None:
        """Close the connections. The next run makes new ones, which may belong to another loop."""
        await self._client.aclose()
        self._connect()

    def _connect(self) -> None:
        self._slots = asyncio.Semaphore(self._concurrency)
        # No timeout of httpx's own: those are for single reads, which a server that trickles never runs into.
        self._client = httpx.AsyncClient(
            headers={**self._headers, "Content-Type": "application/json"},
            timeout=None,
            limits=httpx.Limits(max_connections=self._concurrency, max_keepalive_connections=self._concurrency),
        )

    async def _post(self, content: bytes) -> Any:
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._client.post(f"{self.url}/completions", content=content)
        except TimeoutError:
            raise _Transient(f"the server did not answer within {self._timeout_s:g} s (model.timeout_s)") from None
        except httpx.HTTPError as error:
            raise _Transient(f"the connection to the server broke: {_reason(error)}") from None
        if answer.status_code == 429 or answer.status_code >= 500:
            raise _Transient(self._said(answer), _retry_after(answer))
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
        said = f"the server answered {answer.status_code}: {line or answer.reason_phrase}"
        return said if len(said) <= MAX_MESSAGE else said[: MAX_MESSAGE - 3] + "..."


def _pause(state: RetryCallState) -> float:
    """Seconds until the next attempt."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, _Transient) and error.retry_after is not None:
        return min(error.retry_after, MAX_PAUSE_S)
    return _backoff(state)


def _retry_after(answer: httpx.Response) -> float | None:
    """Seconds in a Retry-After header, which holds a number of them or a date."""
    value = answer.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _reason(error: Exception) -> str:
    """One line about what httpx raised; some of its exceptions have no text."""
    return " ".join(str(error).split()) or type(error).__name__
