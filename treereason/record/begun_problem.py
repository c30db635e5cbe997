"""What the journal knows of one unfinished problem, handed out as its search asks for it again."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, TypeVar

from treereason.core import Cost, Decoded, Finish, Request, Score, ThoughtPath, TokenStatistics
from treereason.events import Event, ThoughtCreated
from treereason.record.row import decode, encode, row_of

T = TypeVar("T")
SCORER = "scorer: "
"""How the error of a thought begins whose scorer broke."""


class BegunProblem:
    """Answers a search that runs once more: every request and verdict as it was, until the record ends.

    seconds: wall time that it has taken.

    Answers are told apart by thought and order, so they fit a search that asks for the same things. What it asks for is
    compared with what was asked (ThoughtCreated.asked); `diverged` says what differs first, "" as long as nothing does.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.diverged = ""
        self._left: Counter[tuple[str, str]] = Counter()
        self._created: dict[ThoughtPath, dict[str, Any]] = {}
        self._resumed: dict[ThoughtPath, deque[int]] = {}
        self._decoded: dict[ThoughtPath, deque[Decoded]] = {}
        self._verdicts: dict[tuple[ThoughtPath, str], deque[Score | str]] = {}
        self._answered: set[ThoughtPath] = set()
        self._statistics: dict[ThoughtPath, TokenStatistics] = {}

    def add(self, kind: str, text: str) -> None:
        """Enter the next event of the problem: its kind, and its fields as JSON. Raises for what no event says."""
        data = decode(text)
        self._enter(kind, data)
        self._left[kind, encode(data)] += 1  # another version may have spelled it otherwise

    @property
    def exhausted(self) -> bool:
        """Whether the search has come to where the record ends."""
        return not self._left

    def repeats(self, event: Event) -> bool:
        """Whether the record holds the event already. One that contradicts the record is held back as well."""
        if self.diverged:
            return True
        if not self._left:
            return False
        row = row_of(event)
        if self._left[row] > 0:
            self._left[row] -= 1
            if not self._left[row]:
                del self._left[row]
            return True
        if isinstance(event, ThoughtCreated) and event.thought in self._created:
            before = self._created[event.thought]
            if (event.asked, event.probe) != (before["asked"], before["probe"]):
                self.diverged = f"thought {_name(event.thought)} was asked for in other words"
            self._left.pop(("thought_created", encode(before)), None)  # only its limit is another one
        return bool(self.diverged)

    def must_be_exhausted(self) -> None:
        """Note that nothing of the record can follow any more."""
        if self._left and not self.diverged:
            kind, text = next(iter(self._left))
            self.diverged = f"the record goes on with {kind} of thought {_name(decode(text).get('thought', ()))}"

    def answers(self, request: Request) -> dict[ThoughtPath, Decoded]:
        """The recorded answers to a request, by child; those that are missing were not decoded yet."""
        if self.exhausted or self.diverged:
            return {}
        found = {path: _next(self._decoded, path) for path in request.children}
        return {path: decoded for path, decoded in found.items() if decoded is not None}

    def verdict(self, path: ThoughtPath, by: str) -> Score | str | None:
        """What the scorer of that name said of a thought, or the text of how it broke; None when it did not yet."""
        return None if self.diverged else _next(self._verdicts, (path, by))

    def granted(self, paths: Sequence[ThoughtPath]) -> list[int]:
        """The limits that children were granted; none when none of them has an answer yet."""
        created = [path for path in paths if path in self._created]
        if self.exhausted or not any(path in self._answered for path in created):
            return []
        return [self._created[path]["max_tokens"] or 0 for path in created]

    def granted_more(self, path: ThoughtPath) -> int | None:
        """The limit that a thought was granted when it was resumed; None when that has no answer yet."""
        limit = _next(self._resumed, path)
        return limit if self._decoded.get(path) else None

    def _enter(self, kind: str, data: dict[str, Any]) -> None:
        path = tuple(data.get("thought", ()))
        if kind == "thought_created":
            self._created[path] = data
        elif kind == "thought_resumed":
            self._resumed.setdefault(path, deque()).append(data["max_tokens"])
        elif kind in ("thought_scored", "thought_evaluated"):
            self._verdicts.setdefault((path, data["by"]), deque()).append(Score(float(data["score"]), data["final"]))
        elif kind == "thought_failed" and data["by"]:
            message = str(data["error"]).removeprefix(SCORER)
            self._verdicts.setdefault((path, data["by"]), deque()).append(message)
        if kind == "thought_decoded":
            self._add_answer(path, data)
        elif kind == "thought_failed" and data["decoded"] is not None:
            self._add_answer(path, data["decoded"])

    def _add_answer(self, path: ThoughtPath, data: dict[str, Any]) -> None:
        self._answered.add(path)
        statistics = None
        if data["token_statistics"]:
            statistics = self._statistics[path].copy() if path in self._statistics else TokenStatistics()
            statistics.extend([float(number) for number in row] for row in data["token_statistics"])
            self._statistics[path] = statistics
        self._decoded.setdefault(path, deque()).append(
            Decoded(
                problem=data["problem"],
                path=path,
                text=data["text"],
                logprob=None if data["logprob"] is None else float(data["logprob"]),
                cost=Cost(
                    tokens_prefilled=data["tokens_prefilled"],
                    tokens_decoded=data["tokens_decoded"],
                    tokens_reused=data["tokens_reused"],
                    kv_token_steps=data["kv_token_steps"],
                    seconds=data["seconds"],
                ),
                error=data.get("error"),
                finish=Finish(data["finish"]) if data["finish"] else None,
                stop=data["stop"],
                seen=tuple(data["seen"]),
                num_tokens=data["num_tokens"],
                token_statistics=statistics,
                token_ids=tuple(data["tokens"]),
            )
        )


def _next(queues: dict[Any, deque[T]], key: object) -> T | None:
    queue = queues.get(key)
    return queue.popleft() if queue else None


def _name(path: Sequence[int]) -> str:
    return ".".join(map(str, path)) or "root"
