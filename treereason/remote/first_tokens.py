"""How likely a chat endpoint's model finds given texts of one token: from the likeliest first tokens that it tells."""

from __future__ import annotations

import asyncio
import math
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from treereason.remote.answer import read_first_tokens
from treereason.remote.context import Context
from treereason.remote.dialect import REFUSALS_AT_ONCE, TRIAL, Fields
from treereason.remote.errors import RequestFailed
from treereason.remote.logprobs import TokenLogprob
from treereason.text import one_line

NUMBERS = (20, 5)
"""Likeliest tokens that are asked for: the most that OpenAI and vLLM tell, and for servers that refuse so many."""
ELSEWHERE = "give model.endpoint=completions, where vLLM and SGLang have them"

SMALLEST = sys.float_info.min
"""For tokens that servers give -9999, which no float's exponential holds."""

Send = Callable[[Fields], Awaitable[Any]]
"""Sends a request; gives the decoded JSON, or raises RequestFailed."""


class FirstTokens:
    """Asks one chat endpoint for its likeliest first tokens. Whether it tells them is found out by one short trial."""

    def __init__(self, url: str, send: Send) -> None:
        self._url = url
        self._send = send
        self._asking = asyncio.Lock()
        self._number: int | None = None
        self._refusal = ""

    async def behind(self, context: Context) -> tuple[list[TokenLogprob], int]:
        """The likeliest tokens behind the context, with their log-probabilities, and how many tokens it has.

        Raises RequestFailed, also where the server tells none.
        """
        async with self._asking:
            if self._number is None and not self._refusal:
                await self._trial()
        if self._number is None:
            raise RequestFailed(self._refusal)
        return await self._ask(context, self._number)

    async def _trial(self) -> None:
        reason = ""
        for number in NUMBERS:
            try:
                await self._ask(Context("", (("user", TRIAL),)), number)
            except RequestFailed as error:
                if error.status is not None and error.status not in REFUSALS_AT_ONCE:
                    raise
                reason = one_line(error, 120)
            else:
                self._number = number
                return
        self._refusal = (
            f"model.url={self._url}: the chat endpoint does not tell its likeliest tokens (top_logprobs), so write() "
            f"is not possible: {reason}; vLLM and llama.cpp do, or {ELSEWHERE}"
        )

    async def _ask(self, context: Context, number: int) -> tuple[list[TokenLogprob], int]:
        request = {**context.fields, "max_tokens": 1, "temperature": 0.0, "logprobs": True, "top_logprobs": number}
        return read_first_tokens(await self._send(request))


def logprobs_of(texts: Sequence[str], told: Sequence[TokenLogprob]) -> list[float]:
    """The log-probability of each text as a whole answer's first token, in whatever case and spaces around it.

    A text that is not told counts as likely as the last token that is, and what begins it: an upper bound. Raises
    RequestFailed where that leaves open which text is likeliest.
    """
    aside = len({_word(text) for text in texts}) == len(set(texts))
    word: Callable[[str], str] = _word if aside else str
    shares: defaultdict[str, float] = defaultdict(float)
    for token, logprob in told:
        shares[word(token)] += math.exp(logprob or 0.0)
    least = min(math.exp(logprob or 0.0) for _, logprob in told)
    found = [shares.get(word(text), 0.0) if text else 1.0 for text in texts]
    bounds = [
        least + sum(shares[start] for start in shares if start and word(text).startswith(start)) for text in texts
    ]
    if not any(found) or any(bound >= max(found) for bound, share in zip(bounds, found, strict=True) if not share):
        listed = ", ".join(repr(text[:40]) for text, share in zip(texts, found, strict=True) if not share)
        raise RequestFailed(
            f"write(): how likely {listed} is does not show among the {len(told)} likeliest first tokens, and a chat "
            f"endpoint tells no more: {ELSEWHERE}"
        )
    return [math.log(share or bound or SMALLEST) for share, bound in zip(found, bounds, strict=True)]


def _word(text: str) -> str:
    return text.strip().casefold()
