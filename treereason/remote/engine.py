"""The engine of a remote model: expansions become completion requests, and all of them are in flight together."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from time import perf_counter
from typing import Any, Self

from treereason.core import Cost, Decoded, Expansion
from treereason.events import StepDone
from treereason.remote.answer import Answer, RequestFailed, read
from treereason.remote.server import Server

STEP_S = 0.05
_log = logging.getLogger(__name__)

ThoughtPath = tuple[int, ...]


@dataclass(frozen=True)
class _Written:
    """All text up to the end of a thought; `ended` when the model ended it."""

    text: str
    ended: bool


class RemoteEngine:
    """Decodes on a completions server; one thread, and an event loop that turns only inside its methods.

    The server keeps nothing: each request carries the whole text above its thoughts, and nothing is claimed about
    KV. A child's text depends on its prompt, its seed and the server, never on the order in which answers come.
    Close it, or use it as a context manager: that ends the requests in flight and their connections.

    must_count: an answer fails from which nobody can tell how many tokens it took.
    """

    def __init__(self, server: Server, *, seed: int, must_count: bool = False) -> None:
        self.model = server
        self._seed = seed
        self._must_count = must_count
        self._warned = False
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._loop = self._runner.get_loop()
        self._running: dict[asyncio.Task[list[Decoded]], Expansion] = {}
        self._failed: list[Decoded] = []
        self._thoughts: dict[tuple[str, ThoughtPath], _Written] = {}
        self._ignores_n = False
        self._num_steps = 0

    @property
    def style(self) -> str:
        return self.model.style

    @property
    def busy(self) -> bool:
        return bool(self._running or self._failed)

    def submit(self, expansion: Expansion) -> None:
        """Queue the expansion; its children come back from `step`, failed ones with an error."""
        try:
            text = self._text(expansion)
        except ValueError as error:
            self._failed += _failures(expansion, expansion.children, str(error))
        else:
            self._running[self._loop.create_task(self._expand(expansion, text))] = expansion

    def step(self) -> tuple[list[Decoded], StepDone | None]:
        """Wait a moment for answers. Returns the children that are done, and figures (None when no answer came)."""
        started = perf_counter()
        failed, self._failed = self._failed, []
        if failed or not self._running:
            return failed, None
        in_flight = sum(len(expansion.children) for expansion in self._running.values())
        self._loop.run_until_complete(asyncio.wait(self._running, timeout=STEP_S, return_when=asyncio.FIRST_COMPLETED))
        finished = [task for task in self._running if task.done()]
        if not finished:
            return [], None
        decoded: list[Decoded] = []
        for task in finished:
            del self._running[task]
            decoded += task.result()
        self._num_steps += 1
        figures = StepDone(
            step=self._num_steps,
            num_branches=in_flight,
            num_waiting=0,
            tokens_prefilled=sum(child.cost.tokens_prefilled for child in decoded),
            tokens_decoded=sum(child.cost.tokens_decoded for child in decoded),
            kv_tokens_used=0,
            kv_tokens_peak=0,
            kv_tokens_capacity=0,
            kv_tokens_read_tree=0,
            kv_tokens_read_sequence=0,
            seconds=perf_counter() - started,
        )
        return decoded, figures

    def stop(self, problem: str, error: str) -> None:
        """Give up the problem's requests; their children come back from `step` with this error."""
        for expansion in self._cancel([task for task in self._tasks(problem) if not task.done()]):
            self._failed += _failures(expansion, expansion.children, error)

    def drop(self, problem: str, path: ThoughtPath) -> None:
        """Forget a thought's text. Unknown thoughts (the root, failed ones) are fine."""
        self._thoughts.pop((problem, path), None)

    def end_problem(self, problem: str) -> int:
        """Give up the problem's requests and forget its texts; returns 0, the KV tokens that it held here."""
        self._cancel(self._tasks(problem))
        self._failed = [failed for failed in self._failed if failed.problem != problem]
        for owner, path in [key for key in self._thoughts if key[0] == problem]:
            self.drop(owner, path)
        return 0

    def close(self) -> None:
        if self._loop.is_closed():
            return
        self._cancel(list(self._running))
        self._loop.run_until_complete(self.model.close())
        self._runner.close()  # with the tasks of httpx that a broken answer leaves behind

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tasks(self, problem: str) -> list[asyncio.Task[list[Decoded]]]:
        return [task for task, expansion in self._running.items() if expansion.problem == problem]

    def _cancel(self, tasks: list[asyncio.Task[list[Decoded]]]) -> list[Expansion]:
        """End the tasks; returns what they worked on."""
        for task in tasks:
            task.cancel()
        if tasks:  # connections close when the cancelled tasks get their turn
            self._loop.run_until_complete(asyncio.wait(tasks))
        return [self._running.pop(task) for task in tasks]

    def _text(self, expansion: Expansion) -> str:
        """The whole text to complete. Raises ValueError for what a server cannot be asked."""
        prompt = expansion.prompt
        if prompt.token_ids:
            raise ValueError("a prompt of token ids: a completions server is sent text only")
        if not (prompt.appended and expansion.parent):
            return prompt.shared + prompt.text
        above = self._thoughts.get((expansion.problem, expansion.parent))
        if above is None:
            raise ValueError("an appended prompt, but the parent's text has been returned")
        if above.ended and not prompt.text:
            raise ValueError("an empty appended prompt after a thought that ended its text")
        return above.text + prompt.text

    async def _expand(self, expansion: Expansion, text: str) -> list[Decoded]:
        """All children by one request, or those that it leaves out by one request each."""
        paths, decoded = expansion.children, list[Decoded]()
        # Some servers refuse several samples of one greedy decoding.
        if not self._ignores_n and expansion.sampling.temperature > 0:
            decoded = await self._request(expansion, text, paths)
            # Only one choice shows it: a server with a limit of its own still gets its share by one request, and
            # the seed that a child gets does not depend on what was learnt before.
            self._ignores_n |= len(decoded) == 1 < len(paths)
        rest = paths[len(decoded) :]
        for single in await asyncio.gather(*(self._request(expansion, text, (path,)) for path in rest)):
            decoded += single
        return decoded

    async def _request(self, expansion: Expansion, text: str, paths: Sequence[ThoughtPath]) -> list[Decoded]:
        """The children that one request gives: as many of the first paths as the server has choices."""
        prompt, sampling, problem = expansion.prompt, expansion.sampling, expansion.problem
        request: dict[str, Any] = {
            "prompt": text,
            "n": len(paths),
            "seed": request_seed(self._seed, problem, paths[0]),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": prompt.max_tokens,
            "logprobs": 1,
        }
        if prompt.stop:
            request["stop"] = list(prompt.stop)
        if prompt.ignore_end:
            request["ignore_eos"] = True  # no part of OpenAI's interface, but vLLM, SGLang and llama.cpp know it
        started = perf_counter()
        try:
            answer = read(await self.model.complete(request), prompt.stop)
            self._check_counts(answer)
        except RequestFailed as error:
            return _failures(expansion, paths, str(error))
        seconds = perf_counter() - started
        decoded = []
        for path, choice in zip(paths, answer.choices, strict=False):
            # The prompt is computed once for all children: the first one bears its cost.
            num_prefilled = answer.num_prompt_tokens if path == paths[0] else 0
            cost = Cost(tokens_prefilled=num_prefilled, tokens_decoded=choice.num_tokens, seconds=seconds)
            self._thoughts[problem, path] = _Written(text + choice.text + choice.stop, choice.ended)
            decoded.append(Decoded(problem, path, choice.text, choice.logprob, cost))
        return decoded

    def _check_counts(self, answer: Answer) -> None:
        """Raises RequestFailed where tokens must be counted and cannot be."""
        if any(choice.num_tokens for choice in answer.choices) or not any(choice.text for choice in answer.choices):
            return
        if self._must_count:
            raise RequestFailed("the server tells neither usage nor logprobs, so budget.tokens cannot be kept: drop it")
        if not self._warned:
            _log.warning("the server tells neither usage nor logprobs: its decoded tokens count as 0")
        self._warned = True


def request_seed(seed: int, problem: str, path: ThoughtPath) -> int:
    """31 bits, which every server takes, from the run's seed, the problem and the first child's path."""
    name = json.dumps([seed, problem, *path])
    return int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "big") >> 1


def _failures(expansion: Expansion, paths: Sequence[ThoughtPath], error: str) -> list[Decoded]:
    return [Decoded(expansion.problem, path, "", 0.0, Cost(), error) for path in paths]
