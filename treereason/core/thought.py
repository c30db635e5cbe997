"""A problem and the thoughts of its tree: texts with their place, answer, score and cost."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from treereason.core.token_statistics import TokenStatistics

ThoughtPath = tuple[int, ...]
"""Child ranks from the problem's root: the name of a thought inside its problem; the root's is ()."""


@dataclass(frozen=True)
class Problem:
    """One item of a task.

    id: not empty, and unique in the run. input: what is asked. target: the right answer where it is known. Both are
    JSON-like values that the task understands.
    """

    id: str
    input: Any
    target: Any = None


@dataclass
class Cost:
    """What a thought or a problem has cost, in tokens and seconds.

    tokens_prefilled: prompt tokens computed for it. tokens_decoded: sampled. tokens_reused: prompt tokens found in KV,
    those that all problems share among them, whichever problem comes first.
    kv_token_steps: KV tokens of its own, summed over the steps in which it decoded.
    seconds: wall time from its first token to its last, in steps that it shares with others.
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
    """The state of a thought: "decoding", "decoded", "kept" in the frontier, "pruned" or "failed" with an error."""

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
    text: without prompt and stop string. answer: what the task reads out of it, None when it has none (yet).
    score: None until a scorer has seen it. status: its state. error: why it failed, in one line, else None.
    logprob: sum of the log-probabilities of its tokens under the model at temperature 1, its end token included; None
        where a server does not tell that of every token. num_tokens: how many tokens it sums up, 0 where a server
        does not tell.
    cost: of this thought alone, all its pieces together when it was resumed.
    prompt: what was put to the model for it: behind the parent's text where `appended`, else a prompt of its own. Once
        decoded on this machine, as the model saw it: in its chat template, and as its tokenizer reads it.
    stop: the stop string behind `text`, without a beginning that the texts above hold; "" when something else ended it.
    finish: what ended it, None until then.
    part: the text answers only a part of the problem, so it is not read as an answer, and is never the best one.
    multiplicity: how many equal thoughts this one stands for, itself included: those that `keep` found equal to it, and
        those that sampling at temperature 0 would only have repeated. Votes count them.
    token_statistics: of its tokens, all its pieces together when it was resumed; None unless the run computes them
        (`engine.token_statistics`, which scorers turn on that need them).
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
    logprob: float | None = 0.0
    num_children: int = 0
    cost: Cost = field(default_factory=Cost)
    prompt: str = ""
    appended: bool = False
    stop: str = ""
    finish: Finish | None = None
    part: bool = False
    multiplicity: int = 1
    token_statistics: TokenStatistics | None = None
    data: dict[str, Any] = field(default_factory=dict)
    num_tokens: int = 0

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
        """What the model saw and wrote up to here: from the last prompt of its own on, stop strings included.

        On this machine, the one decoding of all these tokens. A character that is split over two thoughts is in the
        later one's text; one that is not complete yet is in none. A text that was given (Tree.write) stands as given,
        also where the tokenizer cannot spell it.
        """
        texts: list[str] = []
        thought: Thought | None = self
        while thought is not None:
            texts.append(thought.prompt + thought.text + thought.stop)
            thought = thought.parent if thought.appended else None
        return "".join(reversed(texts))
