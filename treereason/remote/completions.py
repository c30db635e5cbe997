"""What each kind of request to the engine means to a completions server, and what the answers mean to the engine."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from time import perf_counter
from typing import Any

from treereason.core import (
    Cost,
    Decoded,
    Expansion,
    Finish,
    Prompt,
    Request,
    Resumption,
    Sampling,
    ThoughtPath,
    Writing,
)
from treereason.remote.answer import Answer, read
from treereason.remote.context import Context
from treereason.remote.continuation import Continuation, in_form
from treereason.remote.dialect import Dialect, Fields
from treereason.remote.echo import Echoes, logprob_behind
from treereason.remote.errors import RequestFailed
from treereason.remote.first_tokens import FirstTokens, logprobs_of
from treereason.remote.logprobs import TokenLogprob, total
from treereason.remote.server import Server

MAX_REPEATED = 4
"""Texts in a row that may repeat the first one for their prompt, before the server is suspected."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Transcript:
    """A decoded thought, and all that stood before it."""

    prompt: Context
    thought: Decoded

    @property
    def whole(self) -> Context:
        """Everything up to the thought's end, its stop string included."""
        return self.prompt + self.thought.text + self.thought.stop


class Completions:
    """Answers requests by completions of `server`. Nothing here raises RequestFailed: its text becomes `error`.

    A child's text depends on its prompt, its seed and the server, never on the order in which answers come.

    must_count: an answer that does not tell how many tokens it took fails.
    """

    def __init__(self, server: Server, *, seed: int, must_count: bool) -> None:
        self._server = server
        self._dialect = Dialect(server)
        self._echoes = Echoes(server)
        self._continuation = Continuation(server, self._dialect)
        self._first_tokens = FirstTokens(server.url, self._send)
        self._seed = seed
        self._must_count = must_count
        self._ignores_n = False
        self._num_repeated = 0
        self._warnings: set[str] = set()

    async def expand(self, expansion: Expansion, prompt: Context) -> list[Decoded]:
        """The children, decoded behind `prompt`: by one request, and one more per child that it leaves out."""
        paths, decoded = expansion.children, list[Decoded]()
        # Some servers refuse several samples of one greedy decoding.
        if not self._ignores_n and not expansion.sampling.greedy:
            request = self._request(expansion, prompt, paths)
            if not self._dialect.leaves_out("n", request):
                decoded = await self._sample(expansion, prompt, paths)
                # Only one choice shows it: a server with a limit of its own still gets its share by one request, and
                # the seed that a child gets does not depend on what was learnt before.
                refused = self._dialect.leaves_out("n", request)
                self._ignores_n |= not refused and len(decoded) == 1 < len(paths)
        rest = paths[len(decoded) :]
        for single in await asyncio.gather(*(self._sample(expansion, prompt, (path,)) for path in rest)):
            decoded += single
        self._notice_equal(expansion, decoded)
        return decoded

    async def resume(self, resumption: Resumption, before: Transcript) -> list[Decoded]:
        """The thought, decoded on behind what it has.

        The text so far is sent as text, so its tokens are the server's own reading of it, not those that were sampled.
        """
        thought = before.thought
        seed = request_seed(self._seed, resumption.problem, resumption.path, len(thought.text))
        try:
            request = fields(before.prompt + thought.text, resumption.prompt, resumption.sampling, seed)
            answer, seconds = await self._complete(request, resumption.prompt.stop, before=thought.text)
        except RequestFailed as error:
            return failures(resumption, str(error), before)
        [more] = sampled(answer, resumption, resumption.children, seconds)
        if more.error is not None:
            return [replace(more, text=thought.text, logprob=thought.logprob, num_tokens=thought.num_tokens)]
        known = thought.num_tokens and (more.num_tokens or more.text == thought.text)
        num_tokens = thought.num_tokens + more.num_tokens if known else 0
        return [replace(more, logprob=total((thought.logprob, more.logprob)), num_tokens=num_tokens)]

    async def write(self, writing: Writing, prompt: Context) -> list[Decoded]:
        """The children with their given texts, each measured by one request; one more reads the prompt alone.

        The first child bears the cost of that one. A server that refuses to decode nothing decodes a token per
        request, which is thrown away and not counted. A chat endpoint is asked once for the likeliest next tokens, of
        which each text must be one.
        """
        started = perf_counter()
        if prompt.messages:
            return await self._write_by_first_tokens(writing, prompt, started)
        alone, *wholes = await asyncio.gather(
            _or_failure(self._echoes.of(prompt.text)),
            *(_or_failure(self._echoes.of(prompt.text + text)) for text in writing.texts),
        )
        seconds = perf_counter() - started
        if isinstance(alone, RequestFailed):
            return failures(writing, str(alone))
        written = []
        for path, text, whole in zip(writing.children, writing.texts, wholes, strict=True):
            if isinstance(whole, RequestFailed):
                written += failures(writing, str(whole), paths=(path,))
                continue
            num_prefilled = len(whole) + (len(alone) if path == writing.children[0] else 0)
            cost = Cost(tokens_prefilled=num_prefilled, seconds=seconds)
            logprob = logprob_behind(alone, whole)
            num_tokens = max(0, len(whole) - len(alone))
            written.append(
                Decoded(writing.problem, path, text, logprob, cost, finish=Finish.GIVEN, num_tokens=num_tokens)
            )
        return written

    async def _write_by_first_tokens(self, writing: Writing, prompt: Context, started: float) -> list[Decoded]:
        try:
            told, num_prompt_tokens = await self._first_tokens.behind(prompt)
            logprobs = logprobs_of(writing.texts, told)
        except RequestFailed as error:
            return failures(writing, str(error))
        cost = Cost(seconds=perf_counter() - started)
        return [
            Decoded(
                writing.problem,
                path,
                text,
                logprob,
                replace(cost, tokens_prefilled=num_prompt_tokens if path == writing.children[0] else 0),
                finish=Finish.GIVEN,
                num_tokens=int(bool(text)),
            )
            for path, text, logprob in zip(writing.children, writing.texts, logprobs, strict=True)
        ]

    async def _sample(self, expansion: Expansion, prompt: Context, paths: Sequence[ThoughtPath]) -> list[Decoded]:
        """The children that one request gives: as many of the first paths as the server has choices."""
        request = self._request(expansion, prompt, paths)
        try:
            answer, seconds = await self._complete(request, expansion.prompt.stop)
        except RequestFailed as error:
            return failures(expansion, str(error), paths=paths)
        return sampled(answer, expansion, paths, seconds)

    def _request(self, expansion: Expansion, prompt: Context, paths: Sequence[ThoughtPath]) -> dict[str, Any]:
        """One request for the children at these paths."""
        seed = request_seed(self._seed, expansion.problem, paths[0])
        return fields(prompt, expansion.prompt, expansion.sampling, seed, n=len(paths))

    async def _complete(self, request: Fields, stops: Sequence[str], before: str = "") -> tuple[Answer, float]:
        """The answer to one request, and its wall time in seconds. Raises RequestFailed.

        stops: those that end the thought, whatever the server is told of them.
        """
        request, said = await self._formed(request)
        started = perf_counter()
        value = await self._dialect.complete(request)
        answer = read(value, stops, before, said=said, keeps_stops=self._server.capabilities.keeps_stops)
        self._check(answer, before)
        return answer, perf_counter() - started

    async def _formed(self, request: Fields) -> tuple[Fields, str]:
        """The request as this server continues a text, and what of the text comes back with the answer."""
        if "continue_final_message" not in request:
            return request, ""
        form, repeats_text = await self._continuation.form()
        return in_form(request, form), request["messages"][-1]["content"] if repeats_text else ""

    async def _send(self, request: Fields) -> Any:
        request, _ = await self._formed(request)
        return await self._dialect.complete(request)

    def _notice_equal(self, expansion: Expansion, decoded: Sequence[Decoded]) -> None:
        """Warn of a server that draws one text again and again."""
        if len(decoded) < 2 or expansion.sampling.greedy or any(child.error for child in decoded):
            return
        equal = len({child.text for child in decoded}) == 1
        self._num_repeated = self._num_repeated + len(decoded) - 1 if equal else 0
        if self._num_repeated >= MAX_REPEATED:
            self._warn_once(
                f"all texts for one prompt were equal at temperature {expansion.sampling.temperature:g}: "
                "the server may ignore temperature or seeds"
            )

    def _check(self, answer: Answer, before: str) -> None:
        """Warn of what the server does not tell. Raises RequestFailed where tokens must be counted and cannot be."""
        choices = answer.choices
        if any(choice.text != before for choice in choices) and not any(choice.num_tokens for choice in choices):
            untold = "the server tells neither usage nor logprobs"
            if self._must_count:
                raise RequestFailed(f"{untold}, so budget.tokens cannot be kept: leave it out")
            self._warn_once(f"{untold}: its decoded tokens count as 0")
        if any(choice.assumed for choice in choices):
            self._warn_once(
                "the server does not tell what ended a text: the first stop string is assumed, not the model's own end"
            )

    def _warn_once(self, message: str) -> None:
        if message not in self._warnings:
            self._warnings.add(message)
            _log.warning(message)


def fields(context: Context, prompt: Prompt, sampling: Sampling, seed: int, n: int = 1) -> dict[str, Any]:
    """A request for `n` samples behind the whole context, with the limits of `prompt`."""
    request: dict[str, Any] = {
        **context.fields,
        "n": n,
        "seed": seed,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": prompt.max_tokens,
        "logprobs": True if context.messages else 1,
    }
    if prompt.stop:
        request["stop"] = list(prompt.stop)
    # The rest is not part of OpenAI's interface, but vLLM, SGLang and llama.cpp know it.
    if sampling.top_k:
        request["top_k"] = sampling.top_k
    if sampling.min_p:
        request["min_p"] = sampling.min_p
    if prompt.ignore_end:
        request["ignore_eos"] = True
    return request


def request_seed(seed: int, problem: str, path: ThoughtPath, num_letters: int = 0) -> int:
    """31 bits, which every server takes, from the run's seed, the problem and the path of the request's first child.

    num_letters: text that the child has already, so that a resumed thought is not drawn by the same numbers again.
    """
    name = json.dumps([seed, problem, *path, *([str(num_letters)] if num_letters else [])])
    return int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "big") >> 1


def sampled(answer: Answer, request: Request, paths: Sequence[ThoughtPath], seconds: float) -> list[Decoded]:
    """One child per choice. The prompt is computed once for all of them: the first one bears its cost."""
    children = []
    for path, choice in zip(paths, answer.choices, strict=False):
        num_prefilled = answer.num_prompt_tokens if path == paths[0] else 0
        cost = Cost(tokens_prefilled=num_prefilled, tokens_decoded=choice.num_tokens, seconds=seconds)
        if choice.broken_off:
            [failed] = failures(request, f"the server broke the text off: {choice.broken_off}", paths=(path,))
            children.append(replace(failed, cost=cost))
            continue
        children.append(
            Decoded(
                request.problem,
                path,
                choice.text,
                choice.logprob,
                cost,
                finish=choice.finish,
                stop=choice.stop,
                num_tokens=choice.num_kept,
            )
        )
    return children


def failures(
    request: Request, error: str, before: Transcript | None = None, paths: Sequence[ThoughtPath] | None = None
) -> list[Decoded]:
    """The request's children, or those at `paths`, with this error. before: what a resumed thought keeps."""
    text, logprob = (before.thought.text, before.thought.logprob) if before else ("", 0.0)
    return [
        Decoded(request.problem, path, text, logprob, Cost(), error)
        for path in (request.children if paths is None else paths)
    ]


async def _or_failure(echo: Coroutine[Any, Any, list[TokenLogprob]]) -> list[TokenLogprob] | RequestFailed:
    try:
        return await echo
    except RequestFailed as error:
        return error
