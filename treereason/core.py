"""The shared nouns: what a task, a search, the engine and the record all speak of. Standard library only."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypeVar


class UserError(ValueError):
    """A mistake in what the user gave; its text is one line: what, where, what to do."""


@dataclass(frozen=True)
class Problem:
    """One item of a task. `input` and `target` are JSON-like values that the task understands."""

    id: str
    input: Any
    target: Any = None


@dataclass(frozen=True)
class Prompt:
    """What is put to the model to obtain the next thought. Raises ValueError for what no engine could decode.

    text: appended to the parent's tokens when `appended`, otherwise a prompt of its own.
    shared: leading text of a fresh prompt that every problem of the run has in common (few-shot
        examples, instructions); its KV is computed once and kept for the whole run.
    stop: decoding ends as soon as one of these strings appears; it is not part of the thought's text.
    max_tokens: decoding ends after this many tokens.
    token_ids: given instead of text, for prompts that are not language (replayed recordings, benchmarks).
    ignore_end: the end-of-text token does not end decoding; only stop strings and max_tokens do.
    """

    text: str
    appended: bool = False
    shared: str = ""
    stop: tuple[str, ...] = ()
    max_tokens: int = 256
    token_ids: tuple[int, ...] = ()
    ignore_end: bool = False

    def __post_init__(self) -> None:
        rules = {
            "text": (isinstance(self.text, str), "a text"),
            "shared": (isinstance(self.shared, str), "a text"),
            "stop": (_several(str, self.stop) and "" not in self.stop, "a tuple of texts, none of them empty"),
            "max_tokens": (type(self.max_tokens) is int and self.max_tokens > 0, "a whole number above 0"),
            "token_ids": (_several(int, self.token_ids), "a tuple of whole numbers"),
        }
        for name, (right, wanted) in rules.items():
            if not right:
                raise ValueError(f"Prompt.{name}={reprlib.repr(getattr(self, name))}: give {wanted}")


def _several(kind: type, values: object) -> bool:
    return isinstance(values, (tuple, list)) and all(isinstance(value, kind) for value in values)


@dataclass
class Cost:
    """Tokens spent: prefilled (prompt tokens computed), decoded (sampled), reused (prompt tokens found in KV).

    kv_token_steps: KV tokens of its own that it held, summed over the steps in which it decoded.
    seconds: wall time from its first token to its last, in company of whatever else decoded.
    """

    tokens_prefilled: int = 0
    tokens_decoded: int = 0
    tokens_reused: int = 0
    kv_token_steps: int = 0
    seconds: float = field(default=0.0, compare=False)

    def add(self, other: Cost) -> None:
        self.tokens_prefilled += other.tokens_prefilled
        self.tokens_decoded += other.tokens_decoded
        self.tokens_reused += other.tokens_reused
        self.kv_token_steps += other.kv_token_steps
        self.seconds += other.seconds


class Status(StrEnum):
    """Where a thought stands: being decoded, decoded, in the frontier, given up, or broken."""

    DECODING = "decoding"
    DECODED = "decoded"
    KEPT = "kept"
    PRUNED = "pruned"
    FAILED = "failed"


@dataclass(frozen=True)
class Score:
    """A scorer's verdict. Higher is better; `final` says that nothing can beat it, so a search may stop."""

    value: float
    final: bool = False


@dataclass(eq=False)
class Thought:
    """One node of the search: a text that the model wrote (or, for the root, nothing yet).

    path: child ranks from the root, the thought's name inside its problem; the root's is ().
    parents: one, except for a join (several) and the root (none).
    answer: what the task reads out of the thought, None when it holds no answer (yet).
    logprob: sum of the log-probabilities of its tokens under the model at temperature 1.
    """

    problem: Problem
    path: tuple[int, ...] = ()
    parents: tuple[Thought, ...] = ()
    text: str = ""
    answer: Any = None
    score: Score | None = None
    status: Status = Status.DECODING
    error: str | None = None
    logprob: float = 0.0
    num_children: int = 0
    cost: Cost = field(default_factory=Cost)

    @property
    def depth(self) -> int:
        return len(self.path)

    @property
    def parent(self) -> Thought | None:
        return self.parents[0] if self.parents else None

    def transcript(self) -> str:
        """Text of all thoughts from the root to this one, through first parents."""
        texts: list[str] = []
        thought: Thought | None = self
        while thought is not None:
            texts.append(thought.text)
            thought = thought.parent
        return "".join(reversed(texts))


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. temperature 0 takes the most likely one; top_p 1 draws from the whole vocabulary."""

    temperature: float = 0.7
    top_p: float = 1.0


@dataclass(frozen=True)
class Expansion:
    """What a search asks of the engine: decode `children` (paths) of `parent` (a path) from one prompt."""

    problem: str
    parent: tuple[int, ...]
    prompt: Prompt
    children: tuple[tuple[int, ...], ...]
    sampling: Sampling


@dataclass(frozen=True)
class Decoded:
    """What the engine answers for one child. With an `error` the text is what had been decoded until then."""

    problem: str
    path: tuple[int, ...]
    text: str
    logprob: float
    cost: Cost
    error: str | None = None


class Task(Protocol):
    """A kind of problem. `tasks/base.py` holds defaults for most of it."""

    @property
    def scorer(self) -> str:
        """Name of the default scorer."""
        ...

    def problems(self, seed: int) -> Sequence[Problem]:
        """The problems of a run, in order. Raises UserError on bad files or settings."""
        ...

    def prompt(self, thought: Thought, style: str) -> Prompt | None:
        """The prompt for the thoughts below `thought`, or None when it needs no further thought."""
        ...

    def parse(self, thought: Thought) -> Any:
        """The answer in a decoded thought, or None."""
        ...

    def solved(self, problem: Problem, answer: Any) -> bool:
        """Whether the answer, never None, is right by the problem's target."""
        ...


Scorer = Callable[[Thought], "float | Score"]
_S = TypeVar("_S", bound=Scorer)


def oracle(scorer: _S) -> _S:
    """Mark a scorer that knows or recomputes the truth; results guided by it are reported as such."""
    scorer.oracle = True  # type: ignore[attr-defined]
    return scorer


class Tree(Protocol):
    """What a search holds in its hands: five primitives over one problem's thoughts.

    No primitive raises for a thought that fails: such a thought comes back with status FAILED and its error.
    """

    @property
    def root(self) -> Thought: ...

    def unfinished(self, thought: Thought) -> bool:
        """Whether the thought is only a step: it holds no answer, and its task would continue its tokens."""
        ...

    async def expand(self, thoughts: Sequence[Thought], k: int) -> list[Thought]:
        """Decode k children of each thought at once; a thought that needs no further one is returned itself.

        Fewer than k, down to none, once the problem's budget nears its end.
        """
        ...

    async def score(self, thoughts: Sequence[Thought]) -> None:
        """Give every thought that has none yet a score."""
        ...

    def keep(self, thoughts: Sequence[Thought], b: int) -> list[Thought]:
        """The b best scored thoughts, best first; all others are pruned and their KV returned now."""
        ...

    async def join(self, parents: Sequence[Thought], prompt: Prompt, k: int = 1) -> list[Thought]:
        """Decode k thoughts that have several parents, from a fresh prompt."""
        ...

    async def probe(self, thought: Thought, prompt: Prompt) -> str:
        """Text of a temporary child of `thought`, decoded on its KV and dropped."""
        ...

    def best(self) -> Thought | None:
        """The best scored thought so far that holds an answer; the earliest of equals."""
        ...


class Search(Protocol):
    """An algorithm over a tree. One coroutine a problem; the engine decodes when all of them wait."""

    async def run(self, tree: Tree) -> Thought | None:
        """The thought to answer with, or None when nothing was found."""
        ...
