"""How likely a server's model finds a given text, from servers that echo the log-probabilities of their prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from treereason.remote.answer import read_echo
from treereason.remote.dialect import TRIAL
from treereason.remote.errors import RequestFailed, Transient
from treereason.remote.logprobs import TokenLogprob, total
from treereason.remote.server import Server
from treereason.text import one_line

REFUSALS = (500, 501)
"""Statuses that are tried again but may be meant for good: llama.cpp refuses `echo` by 500 in some versions."""


class Echoes:
    """Asks one server for the log-probabilities of prompts.

    Whether it has them is asked once, by a short prompt that cannot be at fault itself; both answers hold for the
    run. A server that is not there, or has too much to do, has not answered.
    """

    def __init__(self, server: Server, *, num_attempts: int | None = None) -> None:
        self._server = server
        self._num_attempts = num_attempts
        self._asking = asyncio.Lock()
        self._max_tokens: int | None = None
        self._refusal: str | None = None

    async def of(self, text: str) -> list[TokenLogprob]:
        """The tokens of `text` with their log-probabilities. Raises RequestFailed, also where the server has none."""
        if not text:
            return []
        async with self._asking:
            if self._refusal is not None:
                raise RequestFailed(self._refusal)
            if self._max_tokens is None:
                self._max_tokens = await self._trial()
        return await self._ask(text, self._max_tokens)

    async def _trial(self) -> int:
        """The `max_tokens` to ask with: 0 as OpenAI's interface has it, or 1 for servers that refuse 0."""
        for max_tokens in (0, 1):
            try:
                _check_trial(await self._ask(TRIAL, max_tokens))
            except RequestFailed as error:
                if isinstance(error, Transient) and error.status not in REFUSALS:
                    raise
                reason = one_line(error, 120)
            else:
                return max_tokens
        self._refusal = (
            f"model.url={self._server.url}: the server does not echo log-probabilities of given text, so write() is "
            f"not possible: {reason}; vLLM and SGLang have them"
        )
        raise RequestFailed(self._refusal)

    async def _ask(self, text: str, max_tokens: int) -> list[TokenLogprob]:
        request = {"prompt": text, "max_tokens": max_tokens, "echo": True, "logprobs": 1, "temperature": 0.0}
        return read_echo(await self._server.complete(request, num_attempts=self._num_attempts), max_tokens)


def _check_trial(tokens: Sequence[TokenLogprob]) -> None:
    """Raises RequestFailed when the tokens are not the trial's: some servers ignore `echo` and decode as usual."""
    spelled = "".join(filter(str.isalnum, "".join(token.text for token in tokens)))
    if not spelled.endswith(TRIAL.replace(" ", "")):
        raise RequestFailed("the server's answer has other tokens than the prompt's")


def logprob_behind(prompt: Sequence[TokenLogprob], whole: Sequence[TokenLogprob]) -> float | None:
    """Sum of the log-probabilities in `whole`, from the first token on that `prompt` alone does not have there.

    A token that spans the border between prompt and text counts to the text, with its letters of the prompt. Tokens
    are compared as they are spelled, because `text_offset` does not help: SGLang gives -1 for all, and vLLM counts
    the letters of a begin-of-text token. None behind nothing at all: the first token of a text has no log-probability.
    """
    num_shared = 0
    while num_shared < min(len(prompt), len(whole)) and prompt[num_shared].text == whole[num_shared].text:
        num_shared += 1
    return total(token.logprob for token in whole[num_shared:])
