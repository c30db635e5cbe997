"""Short requests that show what a server does: of servers that ignore what they do not know, only the answer tells."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from treereason.remote.answer import Answer, read
from treereason.remote.context import Context
from treereason.remote.continuation import find
from treereason.remote.dialect import REFUSALS_AT_ONCE, TRIAL, Fields
from treereason.remote.echo import Echoes
from treereason.remote.ending import names_stop
from treereason.remote.errors import RequestFailed
from treereason.remote.first_tokens import FirstTokens
from treereason.remote.server import Server
from treereason.text import one_line

HOT = 1.5
"""A temperature at which eight tokens hardly ever come out equal."""
NUM_TOKENS = 8
REFUSED, UNKNOWN = "refused", "not known"
DEFAULTS: dict[str, tuple[Any, ...]] = {
    "top_k": (0, -1),
    "min_p": (0.0,),
    "repeat_penalty": (1.0,),
    "repetition_penalty": (1.0,),
}
"""What switches off a server's own sampling (llama.cpp's top_k of 40 and min_p of 0.05, a model's own settings in
vLLM), in the values that servers take."""


class Probe:
    """Asks one server about a dozen short questions, as many at once as a run would."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._limit = "max_tokens"
        self._told: dict[str, str] = {}

    async def run(self) -> None:
        """Enter into `server.capabilities` what is seen. What cannot be seen stays unknown, and says why."""
        try:
            await self._begin()
        except RequestFailed as error:
            self._learn(told={"what it can do": f"{UNKNOWN}: {one_line(error, 120)}"})
        else:
            await self._all()

    async def _begin(self) -> None:
        """Learn the name of the limit. Raises RequestFailed where the server does not answer as one does."""
        try:
            answer = await self._ask()
        except RequestFailed as error:
            if error.status not in REFUSALS_AT_ONCE:
                raise
            self._limit = "max_completion_tokens"
            try:
                answer = await self._ask()
            except RequestFailed:
                raise error from None
        if len(answer.choices) > 1:
            raise RequestFailed(f"one text was asked for, and {len(answer.choices)} came")

    def _learn(self, **known: Any) -> None:
        self._server.capabilities = replace(self._server.capabilities, **known)

    async def _all(self) -> None:
        greedy, hot = await asyncio.gather(self._text(temperature=0.0), self._hot())
        draws = self._draws(greedy, hot)
        if not draws and greedy not in (REFUSED, UNKNOWN):
            # transformers' server samples only where the model's generation_config.json or this field says so.
            self._learn(nested=True)
            hot = await self._hot()
            draws = self._draws(greedy, hot)
            self._learn(nested=draws)
        self._told["sampling"] = "yes" if draws else "no: all texts are equal"
        if self._server.capabilities.nested:
            self._told["sampling"] = "yes, by generation_config"
        seed = await self._seed(hot)
        n, logprobs, stop, continuation, given, *filters = await asyncio.gather(
            self._several(),
            self._logprobs(),
            self._stop(greedy),
            self._continuation(),
            self._first_tokens() if self._server.chat else self._echo(),
            *(self._filter(name, value, greedy, draws) for name, value in (("top_k", 1), ("min_p", 1.0))),
        )
        self._told |= {"seed": seed, "n": n, "logprobs": logprobs, "stop": stop, "continuation": continuation}
        self._told["top_logprobs" if self._server.chat else "echo"] = given
        self._told |= {"top_k": filters[0], "min_p": filters[1]}
        if not self._server.capabilities.nested:
            found = await asyncio.gather(*(self._default(name) for name in DEFAULTS))
            self._learn(
                defaults={name: value for name, value in zip(DEFAULTS, found, strict=True) if value is not None}
            )
        self._learn(told=self._told)

    async def _ask(self, **fields: Any) -> Answer:
        return read(await self._send(**fields), ())

    async def _send(self, **fields: Any) -> Any:
        context = {"messages": [{"role": "user", "content": TRIAL}]} if self._server.chat else {"prompt": TRIAL}
        request = {**context, self._limit: NUM_TOKENS, **fields}
        return await self._server.complete(request, num_attempts=1)

    async def _text(self, **fields: Any) -> str:
        """The text that comes, or REFUSED or UNKNOWN."""
        try:
            return (await self._ask(**fields)).choices[0].text
        except RequestFailed as error:
            return _word(error)

    async def _hot(self) -> tuple[str, str, str]:
        """Two texts of one seed and one of another, asked for together: some servers mix the seeds up then."""
        first, again, other = await asyncio.gather(*(self._text(temperature=HOT, seed=seed) for seed in (1, 1, 2)))
        return first, again, other

    def _draws(self, greedy: str, texts: tuple[str, str, str]) -> bool:
        return len({greedy, *texts}) > 1

    async def _seed(self, texts: tuple[str, str, str]) -> str:
        first, again, other = texts
        if {REFUSED, UNKNOWN} & {*texts}:
            return REFUSED if REFUSED in texts else UNKNOWN
        if first == again:
            return "kept" if first != other else "all texts are equal"
        apart = [await self._text(temperature=HOT, seed=1) for _ in range(2)]
        return "kept by model.concurrency=1 alone" if apart[0] == apart[1] else "not kept"

    async def _several(self) -> str:
        try:
            answer = await self._ask(temperature=HOT, n=2)
        except RequestFailed as error:
            return _word(error)
        return "yes" if len(answer.choices) == 2 else "no, a request for each child"

    async def _logprobs(self) -> str:
        try:
            answer = await self._ask(logprobs=True if self._server.chat else 1)
        except RequestFailed as error:
            return _word(error)
        return "yes" if answer.choices[0].logprob is not None and answer.choices[0].text else "not told"

    async def _stop(self, greedy: str) -> str:
        """How it stops at a letter in the middle of what it says without."""
        letters = [letter for letter in greedy if not letter.isspace()]
        if greedy in (REFUSED, UNKNOWN) or not letters:
            return UNKNOWN
        stop = letters[len(letters) // 2]
        try:
            value = await self._send(temperature=0.0, stop=[stop])
        except RequestFailed as error:
            return _word(error)
        choice = read(value, ()).choices[0]
        if stop not in choice.text:
            return "cut there, and told which" if names_stop(value["choices"][0], stop) else "cut there, not told which"
        if choice.text == greedy and choice.finish == "length":
            return "ignored: texts are cut only after they were decoded further"
        self._learn(keeps_stops=True)
        return "left in the text"

    async def _filter(self, name: str, value: float, greedy: str, draws: bool) -> str:
        """Whether a filter that leaves only the likeliest token makes hot texts greedy ones."""
        text = await self._text(temperature=HOT, seed=3, **{name: value})
        if text in (REFUSED, UNKNOWN) or not draws:
            return text if text == REFUSED else UNKNOWN
        return "yes" if text == greedy else "ignored"

    async def _default(self, name: str) -> Any:
        """The first value that the server takes, None where it takes none, or is seen not to know the field."""
        if self._told.get(name, "yes") != "yes":
            return None
        for value in DEFAULTS[name]:
            if await self._text(temperature=HOT, seed=4, **{name: value}) not in (REFUSED, UNKNOWN):
                return value
        return None

    async def _continuation(self) -> str:
        if not self._server.chat:
            return "yes, as text"
        try:
            found = await find(lambda fields: self._ask(**fields, temperature=0.0))
        except RequestFailed as error:
            return _word(error)
        self._learn(continuation=found.form, refusal=found.reason, repeats_text=found.repeats_text)
        return f"yes, {found.form}" if found.form else f"no: {found.reason}"

    async def _echo(self) -> str:
        try:
            await Echoes(self._server, num_attempts=1).of(TRIAL)
        except RequestFailed as error:
            return UNKNOWN if error.status is not None and error.status not in REFUSALS_AT_ONCE else "no"
        return "yes"

    async def _first_tokens(self) -> str:
        async def send(fields: Fields) -> Any:
            others = {name: value for name, value in fields.items() if name != "max_tokens"}
            return await self._send(**others, **{self._limit: fields["max_tokens"]})

        try:
            await FirstTokens(self._server.url, send).behind(Context("", (("user", TRIAL),)))
        except RequestFailed as error:
            return UNKNOWN if error.status is not None and error.status not in REFUSALS_AT_ONCE else "no"
        return "yes"


def _word(error: RequestFailed) -> str:
    return REFUSED if error.status in REFUSALS_AT_ONCE else UNKNOWN
