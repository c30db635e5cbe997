"""The shared nouns: what a task, a search, the engine and the record all speak of. Standard library only."""

from __future__ import annotations

import reprlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any, Protocol, TypeVar

ThoughtPath = tuple[int, ...]
"""Child ranks from the problem's root: the name of a thought inside its problem; the root's is ()."""


class UserError(ValueError):
    """A mistake in what the user gave; its text is one line: what, where, what to do."""


@dataclass(frozen=True)
class Problem:
    """One item of a task.

    id: not empty, and unique in the run. input: what is asked. target: the right answer where it is known. Both are
    JSON-like values that the task understands.
    """

    id: str
    input: Any
    target: Any = None


@dataclass(frozen=True)
class Prompt:
    """What is put to the model to obtain the next thought. Raises ValueError for what no engine could decode.

    text: appended to the parent's tokens when `appended`, otherwise a prompt of its own.
    shared: leading text of a fresh prompt that every problem of the run has in common (few-shot
        examples, instructions); its KV is computed once and kept for the whole run.
    system: system text of a fresh prompt, for chat templates. turns: earlier (user, model) turns of it.
        Without a chat template, both stand in front of `shared` as they are.
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
    system: str = ""
    turns: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        rules = {
            "text": (isinstance(self.text, str), "a text"),
            "shared": (isinstance(self.shared, str), "a text"),
            "stop": (_several(str, self.stop) and "" not in self.stop, "a tuple of texts, none of them empty"),
            "max_tokens": (type(self.max_tokens) is int and self.max_tokens > 0, "a whole number above 0"),
            "token_ids": (_several(int, self.token_ids), "a tuple of whole numbers"),
            "system": (isinstance(self.system, str), "a text"),
            "turns": (_are_turns(self.turns), "a tuple of pairs of texts: what the user said, what the model answered"),
        }
        for name, (right, wanted) in rules.items():
            if not right:
                raise ValueError(f"Prompt.{name}={reprlib.repr(getattr(self, name))}: give {wanted}")

    @property
    def plain(self) -> str:
        """All of the prompt's text in order, as a model without chat template reads it."""
        return "".join([self.system, *(text for turn in self.turns for text in turn), self.shared, self.text])


def _several(kind: type, values: object) -> bool:
    return isinstance(values, (tuple, list)) and all(isinstance(value, kind) for value in values)


def _are_turns(turns: object) -> bool:
    return _several(tuple, turns) and all(len(turn) == 2 and _several(str, turn) for turn in turns)  # type: ignore[attr-defined]


@dataclass
class Cost:
    """What a thought or a problem has cost, in tokens and seconds.

    tokens_prefilled: prompt tokens computed. tokens_decoded: sampled. tokens_reused: prompt tokens found in KV.
    kv_token_steps: KV tokens of its own that it held, summed over the steps in which it decoded.
    seconds: wall time from its first token to its last, in company of whatever else decoded.
    """

    tokens_prefilled: int = 0
    tokens_decoded: int = 0
    tokens_reused: int = 0
    kv_token_steps: int = 0
    seconds: float = field(default=0.0, compare=False)

    def add(self, other: Cost) -> None:
        """Count what another one has cost as well."""
        self.tokens_prefilled += other.tokens_prefilled
        self.tokens_decoded += other.tokens_decoded
        self.tokens_reused += other.tokens_reused
        self.kv_token_steps += other.kv_token_steps
        self.seconds += other.seconds


class Status(StrEnum):
    """Where a thought stands: "decoding", "decoded", "kept" in the frontier, "pruned" or "failed" with an error."""

    DECODING = "decoding"
    DECODED = "decoded"
    KEPT = "kept"
    PRUNED = "pruned"
    FAILED = "failed"


class Finish(StrEnum):
    """What ended a text: "end" the model, "stop" a stop string, "length" its token limit; or it was "given"."""

    END = "end"
    STOP = "stop"
    LENGTH = "length"
    GIVEN = "given"


@dataclass(frozen=True)
class Score:
    """A scorer's verdict. value: finite, higher is better. final: nothing can beat it, so a search may stop."""

    value: float
    final: bool = False


@dataclass(eq=False)
class Thought:
    """One node of the search: a text that the model wrote (or, for the root, nothing yet).

    problem: the one that it belongs to. path: its name there. parents: one, except for a join (several) and the root
        (none). num_children: how many it was given, probes and failed ones included.
    text: without prompt and stop string. answer: what the task reads out of it, None when it holds none (yet).
    score: None until a scorer has seen it. status: where it stands. error: why it failed, in one line, else None.
    logprob: sum of the log-probabilities of its tokens under the model at temperature 1. cost: of this thought alone.
    prompt: what was put to the model for it: behind the parent's text where `appended`, else a prompt of its own.
    stop: the stop string behind `text`, "" when something else ended it. finish: what ended it, None until then.
    part: the text answers only a part of the problem, so it is not read as an answer, and is never the best one.
    data: whatever the search or its scorers want to know of the thought; scorers see it.
    """

    problem: Problem
    path: ThoughtPath = ()
    parents: tuple[Thought, ...] = ()
    text: str = ""
    answer: Any = None
    score: Score | None = None
    status: Status = Status.DECODING
    error: str | None = None
    logprob: float = 0.0
    num_children: int = 0
    cost: Cost = field(default_factory=Cost)
    prompt: str = ""
    appended: bool = False
    stop: str = ""
    finish: Finish | None = None
    part: bool = False
    data: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Short, because a thought holds all of the tree above it."""
        return f"<Thought {self.problem.id}:{'.'.join(map(str, self.path)) or 'root'} {reprlib.repr(self.text)}>"

    @property
    def depth(self) -> int:
        """Number of thoughts between this one and the root, with itself: 0 for the root."""
        return len(self.path)

    @property
    def parent(self) -> Thought | None:
        """The first parent, in whose path this thought is; None for the root."""
        return self.parents[0] if self.parents else None

    def ancestors(self) -> list[Thought]:
        """This thought and all above it through first parents, the root last."""
        above: list[Thought] = [self]
        while (parent := above[-1].parent) is not None:
            above.append(parent)
        return above

    def transcript(self) -> str:
        """What the model saw and wrote up to here: from the last prompt of its own on, stop strings included."""
        texts: list[str] = []
        thought: Thought | None = self
        while thought is not None:
            texts.append(thought.prompt + thought.text + thought.stop)
            thought = thought.parent if thought.appended else None
        return "".join(reversed(texts))


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. temperature 0 takes the most likely one; top_p 1 draws from the whole vocabulary."""

    temperature: float = 0.7
    top_p: float = 1.0


@dataclass(frozen=True)
class Expansion:
    """Decode new thoughts from one prompt.

    problem: id of the problem that they belong to; any text where there is none. parent: path of the thought that an
    appended prompt continues; () for the root. prompt: computed once for all of them. children: their paths, each the
    parent's and one rank more. sampling: how their tokens are drawn.
    """

    problem: str
    parent: ThoughtPath
    prompt: Prompt
    children: tuple[ThoughtPath, ...]
    sampling: Sampling


@dataclass(frozen=True)
class Writing:
    """Measure thoughts whose text is given; no token is sampled.

    problem, parent, prompt: as in Expansion. texts: `texts[i]` follows the prompt, as thought `children[i]`.
    """

    problem: str
    parent: ThoughtPath
    prompt: Prompt
    children: tuple[ThoughtPath, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Resumption:
    """Decode on, in place, a thought that ended at its limit: at most `prompt.max_tokens` tokens more.

    problem, path: name the thought. prompt, sampling: those that it was decoded with, but for the limit.
    """

    problem: str
    path: ThoughtPath
    prompt: Prompt
    sampling: Sampling

    @property
    def children(self) -> tuple[ThoughtPath, ...]:
        """The thoughts that come back: this one."""
        return (self.path,)


Request = Expansion | Writing | Resumption
"""What a decoder is asked; every path in `children` comes back as one `Decoded`."""


@dataclass(frozen=True)
class Decoded:
    """What the decoder answers for one child. With an `error` the text is what had been decoded until then.

    problem, path: name the thought, as in the request.
    text, logprob: of the whole thought, its earlier pieces included when it was resumed. cost: of this request alone.
    finish, stop: as in Thought; finish is None with an error.
    """

    problem: str
    path: ThoughtPath
    text: str
    logprob: float
    cost: Cost
    error: str | None = None
    finish: Finish | None = None
    stop: str = ""


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


Scorer = Callable[..., Any]
"""One of three: `f(thought)` gives a number or a Score; `f(thoughts)`, whose parameter is called so, gives a list of
them for a batch; `async f(thought, tree)` may await the tree's primitives first."""
_S = TypeVar("_S", bound=Scorer)


def oracle(scorer: _S) -> _S:
    """Mark a scorer that knows or recomputes the truth; returns the `scorer` itself.

    Results that it has guided are reported as such.
    """
    scorer.oracle = True  # type: ignore[attr-defined]
    return scorer


class Tree(Protocol):
    """What a search is given: one problem's thoughts, and the primitives that make, score and drop them.

    No primitive raises for a thought that fails: such a thought comes back with status FAILED and its error. When the
    problem's budget is spent, a primitive that decodes gives fewer children, then once none; if the search asks again,
    it ends there, and `best()` is its answer. A primitive is called and awaited by one coroutine of the search, or
    by several under `gather`.
    """

    @property
    def root(self) -> Thought:
        """The problem itself: a thought without text."""
        ...

    @property
    def task(self) -> Task:
        """The task of the run, for its prompts and answers."""
        ...

    @property
    def style(self) -> str:
        """Style of the model's prompts: "embedded", "chat" or "plain"."""
        ...

    @property
    def rng(self) -> Random:
        """For choices of the search's own: seeded by the run's seed and the problem."""
        ...

    @property
    def cost(self) -> Cost:
        """Tokens spent on the problem so far."""
        ...

    @property
    def tokens_left(self) -> int | None:
        """Tokens that may still be decoded for the problem; None without a limit."""
        ...

    def unfinished(self, thought: Thought) -> bool:
        """Whether the thought is only a step: it holds no answer, and its task would continue its tokens."""
        ...

    async def expand(
        self,
        thoughts: Sequence[Thought],
        k: int | Sequence[int] = 1,
        *,
        prompt: Prompt | None = None,
        sampling: Sampling | None = None,
        tokens: int | None = None,
        part: bool = False,
    ) -> list[Thought]:
        """Decode k children of each thought, all at once; a thought that needs no further one is returned itself.

        k: one number for all, or one per thought. prompt: instead of the task's. sampling: instead of the run's.
        tokens: at most so many per child. part: the children are parts of an answer, see Thought.
        Raises ValueError when k has another length than `thoughts`, or is below 0.
        """
        ...

    async def resume(self, thoughts: Sequence[Thought], tokens: int) -> list[Thought]:
        """Decode on, in place, those that ended at their limit (finish "length"), `tokens` more at most.

        Returns the same thoughts, with longer text; what else they were given is read anew, and a score is void.
        """
        ...

    async def write(
        self, thought: Thought, texts: Sequence[str], prompt: Prompt | None = None, *, part: bool = False
    ) -> list[Thought]:
        """Children whose text is given; their `logprob` tells how likely the model finds it. Decodes no token.

        prompt: what stands between; the task's own by default, or nothing where the task has none.
        """
        ...

    async def join(
        self, parents: Sequence[Thought], prompt: Prompt, k: int = 1, *, part: bool = False, **data: Any
    ) -> list[Thought]:
        """Decode k thoughts that have several parents, from a fresh prompt; `data` becomes each one's data."""
        ...

    async def probe(self, thought: Thought, prompt: Prompt) -> str:
        """Text of a temporary child of `thought`, decoded on its KV and dropped."""
        ...

    async def score(self, thoughts: Sequence[Thought], by: Scorer | None = None) -> None:
        """Score those that have no score yet by the run's scorer, or all by the search's own, `by`."""
        ...

    def keep(self, thoughts: Sequence[Thought], b: int) -> list[Thought]:
        """The b best scored thoughts, best first, the earliest of equals; the others of this list are pruned.

        Remembers nothing: thoughts of other lists are left alone. Raises ValueError for one without a score.
        """
        ...

    def drop(self, thoughts: Iterable[Thought]) -> None:
        """Give back the KV of thoughts; never an error. What is wanted again later is computed again."""
        ...

    async def gather(self, *coroutines: Awaitable[Any]) -> list[Any]:
        """Results of several coroutines that await primitives, run side by side in rounds.

        In a round each runs to its next primitive, in the order given; then all that they ask for is done together.
        So child ranks, and with them results, depend on the search alone.
        """
        ...

    def best(self) -> Thought | None:
        """The best scored thought so far that holds an answer; the earliest of equals."""
        ...


class Search(Protocol):
    """An algorithm over a tree. One coroutine per problem; the engine decodes when all of them wait."""

    async def run(self, tree: Tree) -> Thought | None:
        """The thought to answer with, or None when nothing was found."""
        ...
