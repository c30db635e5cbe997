"""The engine of a remote model: requests become completions, and all of them are in flight together."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Self

from treereason.core import Decoded, Expansion, Finish, Request, Resumption, ThoughtPath, UserError, Writing
from treereason.events import StepDone
from treereason.remote.completions import Completions, Transcript, failures
from treereason.remote.context import Context, context_of
from treereason.remote.loop_thread import LoopThread
from treereason.remote.server import Server

STEP_S = 0.05


@dataclass(frozen=True)
class _InFlight:
    """A request, what stands in front of its children, and the transcript of a thought that is resumed."""

    request: Request
    prompt: Context
    before: Transcript | None = None


class RemoteEngine:
    """Decodes on a completions server.

    The server keeps nothing: each request carries the whole text above its thoughts, and nothing is claimed about
    KV. Requests go on in a thread of the engine's own, so its methods can be called where an asyncio loop runs.
    Call them from one thread. Close it, or use it as a context manager: that ends the requests in flight and their
    connections.

    seed: with a problem's id and a thought's path it gives the seed that the server is sent.
    must_count: an answer that does not tell how many tokens it took fails.
    """

    def __init__(self, server: Server, *, seed: int, must_count: bool = False) -> None:
        self.model = server
        self._completions = Completions(server, seed=seed, must_count=must_count)
        self._loop = LoopThread("treereason-remote")
        self._in_flight: dict[asyncio.Task[list[Decoded]], _InFlight] = {}
        self._ready: list[Decoded] = []
        self._transcripts: dict[tuple[str, ThoughtPath], Transcript] = {}
        self._num_steps = 0
        self._closed = False

    @property
    def style(self) -> str:
        """Style of the model's prompts: "plain", "chat" or "embedded"."""
        return self.model.style

    @property
    def busy(self) -> bool:
        """Whether `step` still has something to return."""
        return bool(self._in_flight or self._ready)

    def submit(self, request: Request, known: Mapping[ThoughtPath, Decoded] | None = None) -> None:
        """Queue the request; its children come back from `step`, failed ones with an error.

        known: recorded answers of children, which come back as they are; the server is asked for the others.
        """
        before = None
        if isinstance(request, Resumption):
            before = self._transcripts.get((request.problem, request.path))
        known = known or {}
        self._ready += known.values()
        asked = _without(request, known)
        try:
            prompt = self._prompt(request, before)
        except ValueError as error:
            self._ready += failures(asked, str(error), before)
            return
        for child in known.values():
            self._remember(prompt, child)
        if any(path not in known for path in asked.children):
            item = _InFlight(asked, prompt, before)
            self._in_flight[self._loop.start(self._work(item))] = item

    def step(self) -> tuple[list[Decoded], StepDone | None]:
        """Wait a moment for answers. Returns the children that are done, and figures (None when no answer came)."""
        started = perf_counter()
        ready, self._ready = self._ready, []
        if ready or not self._in_flight:
            return ready, None
        num_branches = sum(len(item.request.children) for item in self._in_flight.values())
        self._loop.run(asyncio.wait(self._in_flight, timeout=STEP_S, return_when=asyncio.FIRST_COMPLETED))
        done = [task for task in self._in_flight if task.done()]
        if not done:
            return [], None
        decoded = [child for task in done for child in self._taken(task)]
        self._num_steps += 1
        figures = StepDone(
            step=self._num_steps,
            num_branches=num_branches,
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
        for item in self._cancel([task for task in self._tasks(problem) if not task.done()]):
            self._ready += failures(item.request, error, item.before)

    def drop(self, problem: str, path: ThoughtPath) -> None:
        """A thought is not needed for now. There is no KV to give back; its text stays known until `end_problem`."""

    def kv_tokens(self, problem: str, paths: Sequence[ThoughtPath]) -> int:  # noqa: ARG002
        """Raises UserError: a server does not show its KV."""
        raise UserError(
            "a server does not show how much KV thoughts hold: take a model on this machine, or search=rebase"
        )

    def end_problem(self, problem: str) -> int:
        """Give up the problem's requests and forget its texts; returns 0: the KV is the server's."""
        self._cancel(self._tasks(problem))
        self._ready = [child for child in self._ready if child.problem != problem]
        self._transcripts = {key: value for key, value in self._transcripts.items() if key[0] != problem}
        return 0

    def close(self) -> None:
        """End all requests and connections. Closing twice does nothing."""
        if not self._closed:
            self._closed = True
            self._cancel(list(self._in_flight))
            self._loop.run(self.model.close())
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _taken(self, task: asyncio.Task[list[Decoded]]) -> list[Decoded]:
        """The children of a task that is done; their texts are known from now on."""
        item, children = self._in_flight.pop(task), task.result()
        for child in children:
            self._remember(item.prompt, child)
        return children

    def _remember(self, prompt: Context, child: Decoded) -> None:
        if child.error is None:
            self._transcripts[child.problem, child.path] = Transcript(prompt, child)

    def _tasks(self, problem: str) -> list[asyncio.Task[list[Decoded]]]:
        return [task for task, item in self._in_flight.items() if item.request.problem == problem]

    def _cancel(self, tasks: list[asyncio.Task[list[Decoded]]]) -> list[_InFlight]:
        """End the tasks, and with them their connections; returns what they worked on."""
        self._loop.cancel(tasks)
        return [self._in_flight.pop(task) for task in tasks]

    def _work(self, item: _InFlight) -> Coroutine[None, None, list[Decoded]]:
        match item.request:
            case Expansion() as expansion:
                return self._completions.expand(expansion, item.prompt)
            case Writing() as writing:
                return self._completions.write(writing, item.prompt)
            case Resumption() as resumption:
                assert item.before is not None
                return self._completions.resume(resumption, item.before)

    def _prompt(self, request: Request, before: Transcript | None) -> Context:
        """All that stands in front of the children. Raises ValueError for what a server cannot be asked."""
        if isinstance(request, Resumption):
            return _resumable(before).prompt
        prompt = request.prompt
        if prompt.token_ids:
            raise ValueError("a prompt of token ids: a completions server is sent text only, so give text")
        if not (prompt.appended and request.parent):
            return context_of(prompt, chat=self.model.chat)
        above = self._transcripts.get((request.problem, request.parent))
        if above is None:
            raise ValueError("an appended prompt, but the parent has no text: it failed, or its problem has ended")
        if isinstance(request, Expansion) and above.thought.finish is Finish.END and not prompt.text:
            raise ValueError("an empty appended prompt after a thought that ended its text: give it some text")
        if isinstance(request, Writing) and above.whole.messages and prompt.text.strip():
            return above.whole.asked(prompt.text)  # models that chat answer there, and not in their own message
        return above.whole + prompt.text


def _without(request: Request, known: Collection[ThoughtPath]) -> Request:
    """The request for the other children."""
    if isinstance(request, Expansion):
        return replace(request, children=tuple(path for path in request.children if path not in known))
    if isinstance(request, Writing):
        left = [pair for pair in zip(request.children, request.texts, strict=True) if pair[0] not in known]
        return replace(request, children=tuple(path for path, _ in left), texts=tuple(text for _, text in left))
    return request


def _resumable(before: Transcript | None) -> Transcript:
    """The thought, when it ended at its token limit. Raises ValueError for any other."""
    if before is None:
        raise ValueError("a thought without text cannot be resumed: it failed, or its problem has ended")
    if before.thought.finish is not Finish.LENGTH:
        reason = before.thought.finish or "the server did not tell"
        raise ValueError(f"only a thought that ended at its token limit can be resumed; what ended this one: {reason}")
    return before
