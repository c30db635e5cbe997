"""A completions server: where it is, how much may be asked of it at once, and what is done when it does not answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

import httpx
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

from treereason.core import UserError
from treereason.remote.body import ACCEPTED, MAX_ERROR_BYTES, read_body
from treereason.remote.capabilities import Capabilities
from treereason.remote.environment import make_client, names_set
from treereason.remote.errors import RequestFailed, Transient
from treereason.remote.loop_thread import LoopThread
from treereason.remote.pauses import pause_s, retry_after_s
from treereason.remote.redaction import Redaction
from treereason.text import describe, one_line

PROBE_TIMEOUT_S = 5.0
PASSING = (408, 425, 429)
"""Statuses below 500 that may pass."""
PATHS = {"chat": "chat/completions", "completions": "completions"}
WORDS = ("error", "errors", "message", "detail")
"""Where servers say what is wrong, the outer ones first."""


class Server:
    """Sends completions to `url`, at most `concurrency` at a time.

    What may pass (408, 425, 429, 5xx, a broken connection, no answer within `timeout_s` seconds) is tried
    `max_retries` times more, after the pause that the server asks for or a growing one. The key appears in no message
    and in no text.

    endpoint: "completions", or "chat" for requests of `messages`, whose answers come back as those of completions do;
        "auto" until `connect` has decided. capabilities: what `connect` saw of it.
    style: of the model's prompts, "plain", "chat" or "embedded". sleep: how a pause in seconds is spent.
    Raises UserError for a key that no header can carry.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        style: str,
        endpoint: str = "completions",
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
        self.endpoint = endpoint
        self.url = url.rstrip("/")
        self._redaction = Redaction(api_key)
        self.timeout_s = timeout_s
        self.max_retries = max_retries
        self._sleep = sleep
        self.headers = {"Accept-Encoding": ACCEPTED}
        if api_key:
            self.headers["Authorization"] = f"Bearer {api_key}"
        self.capabilities = Capabilities()
        self.concurrency = concurrency
        self._open: tuple[httpx.AsyncClient, asyncio.Semaphore] | None = None

    @property
    def chat(self) -> bool:
        """Whether prompts go to the chat endpoint."""
        return self.endpoint == "chat"

    def probe(self) -> None:
        """Raises UserError when nobody answers, or the key is refused. Servers that do not list models are fine.

        Raises it also for an environment (proxies, certificates) that no client can be made in.
        """
        loop = LoopThread("treereason-probe")
        try:
            loop.run(self._probe())
        finally:
            loop.close()

    async def complete(
        self, request: Mapping[str, Any], *, final: Collection[int] = (), num_attempts: int | None = None
    ) -> Any:
        """The decoded JSON that answers one request, given without the model's name. Raises RequestFailed.

        final: statuses that are not tried again here. num_attempts: at most, None for those of `max_retries`.
        """
        retrying = AsyncRetrying(
            stop=stop_after_attempt(num_attempts or 1 + self.max_retries),
            wait=pause_s,
            sleep=self._sleep,
            retry=retry_if_exception(lambda error: isinstance(error, Transient) and error.status not in final),
            reraise=True,
        )
        content = json.dumps({"model": self.name, **self._sampled(request)}).encode()
        client, in_flight = self._opened()
        async with in_flight:  # kept during pauses: a server that has too much to do gets less
            return await retrying(self._post, client, content)

    def _sampled(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The request, with what this server must be told so that it samples as the request says, and not otherwise."""
        if not self.capabilities.nested:
            return {**self.capabilities.defaults, **request}
        filters = {"top_k": request.get("top_k", 0), "min_p": request.get("min_p", 0.0)}
        settings = {"do_sample": True, "repetition_penalty": 1.0, **{name: v for name, v in filters.items() if v}}
        fields = {name: value for name, value in request.items() if name not in filters}
        return {**fields, "generation_config": json.dumps({"top_k": 0, **settings})}

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
            headers = {**self.headers, "Content-Type": "application/json"}
            # No timeout of httpx's own: those are for single reads, which a server that trickles never runs into.
            client = make_client(headers=headers, timeout=None, limits=limits)
            self._open = client, asyncio.Semaphore(self.concurrency)
        return self._open

    async def _probe(self) -> None:
        async with make_client(headers=self.headers, timeout=None) as client:
            try:
                async with asyncio.timeout(PROBE_TIMEOUT_S), client.stream("GET", f"{self.url}/models") as answer:
                    status = answer.status_code
                    said = self._said(answer, await read_body(answer)) if status in (401, 403, 407) else ""
            except Exception as error:  # a host that is no name, a broken answer, nobody there
                names = ", ".join(names_set(self.url))
                hint = f" (the environment sets {names})" if names else ""
                cause = "no answer" if isinstance(error, TimeoutError) else self._what_broke(error)
                raise UserError(
                    f"model.url={self.url}: the server cannot be reached: {cause}{hint}; is it running there?"
                ) from None
            elsewhere = await self._elsewhere(client) if status == 404 else None
        if elsewhere:
            raise UserError(f"model.url={self.url}: no models are there; did you mean {elsewhere}?")
        if status == 407:
            names = ", ".join(names_set(self.url)) or "no proxy"
            raise UserError(f"model.url={self.url}: a proxy refuses: {said}; the environment sets {names}")
        if status in (401, 403):
            raise UserError(
                f"model.url={self.url}: the server refuses the key: {said}; "
                "model.api_key_env names the environment variable that holds it"
            )

    async def _elsewhere(self, client: httpx.AsyncClient) -> str | None:
        """The address that was meant, where its models are listed: with /v1, or without what requests add to it."""
        shorter = self.url.removesuffix("/completions").removesuffix("/chat")
        for url in (shorter, f"{shorter}/v1"):
            if url == self.url or url.endswith("/v1/v1"):
                continue
            with suppress(Exception):  # what is not there need not answer properly
                async with asyncio.timeout(PROBE_TIMEOUT_S), client.stream("GET", f"{url}/models") as answer:
                    if answer.is_success:
                        return url
        return None

    async def _post(self, client: httpx.AsyncClient, content: bytes) -> Any:
        try:
            async with (
                asyncio.timeout(self.timeout_s),
                client.stream("POST", f"{self.url}/{PATHS[self.endpoint]}", content=content) as answer,
            ):
                body = await read_body(answer)
        except TimeoutError:
            raise Transient(f"the server did not answer within {self.timeout_s:g} s (model.timeout_s)") from None
        except RequestFailed:
            raise
        except Exception as error:  # of httpx, and what hostile headers draw out of the libraries below it
            raise Transient(f"the connection to the server broke: {self._what_broke(error)}") from None
        status = answer.status_code
        if answer.is_success:
            try:
                value = json.loads(body)
            except (ValueError, RecursionError):
                raise RequestFailed("the server's answer is not JSON") from None
            if isinstance(value, dict) and isinstance(value.get("choices"), list) and value["choices"]:
                self._clean(value)
                return value
            if not (isinstance(value, dict) and any(value.get(name) for name in WORDS)):
                raise RequestFailed("the server's answer has no choices", status)
            status = _status_in(value) or status
        if status in PASSING or status >= 500:
            pause = retry_after_s(answer.headers.get("Retry-After", ""))
            raise Transient(self._said(answer, body), status, pause)
        raise RequestFailed(self._said(answer, body), status)

    def _what_broke(self, error: Exception) -> str:
        """The innermost of what the libraries raised, in one line."""
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        known = isinstance(error, httpx.HTTPError | httpx.InvalidURL | OSError)
        limit = MAX_ERROR_BYTES  # cut behind the redaction only: a part of a key is not found
        return one_line(self._redaction.of_message(one_line(error, limit) if known else describe(error, limit)))

    def _said(self, answer: httpx.Response, body: bytes) -> str:
        """Status and the server's own words, in one line. Some servers repeat the key that they refuse."""
        try:
            words = json.loads(body)
            for key in WORDS:
                if isinstance(words, dict) and words.get(key):
                    words = words[key]
            text = str(words)
        except (ValueError, RecursionError):
            text = body.decode("utf-8", "replace")
        words = " ".join(self._redaction.of_message(text).split()) or answer.reason_phrase
        return one_line(f"the server answered {answer.status_code}: {self._redaction.of_message(words)}")

    def _clean(self, value: Any) -> None:
        """Put a chat's message where completions have their text, and take the key out of it."""
        items = value.get("choices") if isinstance(value, dict) else None
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict):
                text = message_text(item.get("message")) if self.chat else item.get("text")
                if isinstance(text, str):
                    item["text"] = self._redaction.of_text(text)


TEXTS = ("text", "output_text")
"""Types of the parts of a message that are its text; others are thoughts, calls or pictures."""


def _status_in(value: dict[str, Any]) -> int | None:
    """The status that an error in the body of an answer by 200 has; None where it has none."""
    error = value.get("error")
    code = (error if isinstance(error, dict) else value).get("code")
    code = int(code) if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) == 3 else code
    return code if type(code) is int and 400 <= code < 600 else None


def message_text(message: Any) -> str | None:
    """The text of a chat's message, which may come in parts; None where it has none."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, list):
        parts = [{"text": part} if isinstance(part, str) else part for part in content]
        said = [part for part in parts if isinstance(part, dict) and part.get("type", "text") in TEXTS]
        texts = [text for part in said if isinstance(text := part.get("text"), str)]
        return "".join(texts) if texts or not content else None
    return content if isinstance(content, str) else None
