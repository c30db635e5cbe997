"""Typed events: all that the record and the display know of a run. Standard library only.

`thought` fields are paths: child ranks from the problem's root.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

ThoughtPath = tuple[int, ...]


@dataclass(frozen=True)
class Event:
    @property
    def kind(self) -> str:
        """Snake-case name of the event's class, as written to the journal."""
        return "".join("_" + c.lower() if c.isupper() else c for c in type(self).__name__).lstrip("_")

    def fields(self) -> dict[str, Any]:
        """JSON-like fields."""
        return asdict(self)


@dataclass(frozen=True)
class RunStarted(Event):
    """config: the whole validated configuration. pass_name: "search", or "greedy" for the baseline.

    program, overrides: what the user typed, to show how the run can be varied; program is "" for a run that was
    started from Python.
    scorer_oracle: whether the scorer knows or recomputes the truth. scorer_basis: what its verdicts rest on, as in
    core.Basis. repeats: when the run gives the same results again.
    fingerprint: digests of what decides the results beside the configuration, such as "weights" and "problems", or the
    version of what has one; {} where it was not taken.
    """

    task: str
    search: str
    model: str
    scorer: str
    seed: int
    num_problems: int
    pass_name: str = "search"
    config: dict[str, Any] = field(default_factory=dict)
    program: str = "treereason"
    overrides: tuple[str, ...] = ()
    scorer_oracle: bool = False
    repeats: str = ""
    scorer_basis: str = ""
    fingerprint: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunResumed(Event):
    """The run goes on in a new process, from the record of what it did before.

    differences: what is not as it was when the run started, and was accepted all the same; one line each.
    """

    differences: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProblemStarted(Event):
    """A second one in a pass means that the problem starts over: what was told of it before is void."""

    problem: str
    input: Any


@dataclass(frozen=True)
class ThoughtCreated(Event):
    """A branch is queued for decoding. `parents` are paths; a probe is dropped once it is decoded, and never pruned.

    max_tokens: what the budget grants it, None for a text that is given. asked: digest of what the decoder is asked.
    """

    problem: str
    thought: ThoughtPath
    parents: tuple[ThoughtPath, ...]
    probe: bool = False
    max_tokens: int | None = None
    asked: str = ""


@dataclass(frozen=True)
class ThoughtResumed(Event):
    """A thought that ended at its limit goes on; it is decoded once more."""

    problem: str
    thought: ThoughtPath
    max_tokens: int


@dataclass(frozen=True)
class ThoughtDecoded(Event):
    """A branch has come to its end.

    logprob: as in Thought, None where it is not known.
    finish: why: "end" (of text), "stop" (a stop string), "length" (the token limit) or "given" (text that the search
    wrote, nothing was sampled); "" where it is not known.
    seen: under a span policy, what its last token saw of its path, piece by piece; () where that is everything.
    tokens: ids of the tokens sampled, none where a server does not tell. num_tokens, stop: as in Thought.
    token_statistics: (entropy, self-certainty, confidence) of each of the tokens, where the run computes them.
    Text, logprob and num_tokens are of the whole thought; costs, tokens and their statistics of this piece, where it
    was resumed.
    """

    problem: str
    thought: ThoughtPath
    text: str
    answer: Any
    logprob: float | None
    tokens_prefilled: int
    tokens_decoded: int
    tokens_reused: int
    kv_token_steps: int = 0
    seconds: float = 0.0
    finish: str = ""
    seen: tuple[str, ...] = ()
    tokens: tuple[int, ...] = ()
    num_tokens: int = 0
    stop: str = ""
    token_statistics: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class ThoughtScored(Event):
    """`final` is that of `Score`. by: name of the scorer, "" where it is not known."""

    problem: str
    thought: ThoughtPath
    score: float
    final: bool
    by: str = ""


@dataclass(frozen=True)
class ThoughtEvaluated(Event):
    """What the run's scorer says, for the record, of a thought that the search has scored itself."""

    problem: str
    thought: ThoughtPath
    score: float
    final: bool
    by: str = ""


@dataclass(frozen=True)
class ThoughtKept(Event):
    problem: str
    thought: ThoughtPath


@dataclass(frozen=True)
class ThoughtPruned(Event):
    problem: str
    thought: ThoughtPath


@dataclass(frozen=True)
class ThoughtFailed(Event):
    """by: the scorer that broke, "" when it was none. decoded: the fields of ThoughtDecoded, where the text failed."""

    problem: str
    thought: ThoughtPath
    error: str
    by: str = ""
    decoded: dict[str, Any] | None = None


@dataclass(frozen=True)
class StepDone(Event):
    """One engine step. Counts of this step, except kv_tokens_used, kv_tokens_peak and graph_bytes: the state after it.

    tokens_rebuilt: tokens computed again because their KV had been evicted; not among the other counts.
    kv_tokens_read_tree: KV tokens read when each node is read once for all rows below it.
    kv_tokens_read_sequence: KV tokens read when every row reads its own path.
    kv_tokens_read_spans: KV tokens read when each node is read once for all rows that see it; 0 without a span policy.
    launch: on a GPU, "graph" for a step replayed from a graph, else why it ran eagerly; "" elsewhere.
    graph_bytes: device memory that graphs hold after the step, beside model and KV.
    """

    step: int
    num_branches: int
    num_waiting: int
    tokens_prefilled: int
    tokens_decoded: int
    kv_tokens_used: int
    kv_tokens_peak: int
    kv_tokens_capacity: int
    kv_tokens_read_tree: int
    kv_tokens_read_sequence: int
    seconds: float
    tokens_rebuilt: int = 0
    launch: str = ""
    graph_bytes: int = 0
    kv_tokens_read_spans: int = 0


@dataclass(frozen=True)
class ProblemLeased(Event):
    """A worker has the problem from now on, until it is done or the worker dies."""

    problem: str
    worker: int


@dataclass(frozen=True)
class ProblemDone(Event):
    """`status` is "done" or "failed"; the fields are those of one line of results.jsonl, but for
    thoughts_failed, first_thought_error, thoughts_cut, thoughts_empty, finishes and those of judges.

    tokens_wasted: decoded tokens of thoughts that the answer does not build on.
    thoughts_failed, first_thought_error: how many thoughts failed, and the error of the first; the problem may be
    solved all the same.
    guided_by: names of the scorers that the search itself asked, so that they could steer it. guided_by_basis: what the
    verdicts of each rest on, as in core.Basis.
    thoughts_cut: thoughts whose text a token limit ended. thoughts_empty: those without text that give no answer.
    finishes: how many sampled texts each cause ended, by the names of ThoughtDecoded.finish.
    judge_tokens_decoded, judge_tokens_prefilled: of the problem's tokens, those that scorers took to ask the model.
    """

    problem: str
    status: str
    solved: bool
    score: float | None
    answer: Any
    best: ThoughtPath | None
    error: str | None
    tokens_decoded: int
    tokens_prefilled: int
    tokens_reused: int
    kv_tokens_peak: int
    single_sample_scores: tuple[float, ...] = ()
    single_sample_solved: tuple[bool, ...] = ()
    tokens_wasted: int = 0
    thoughts_failed: int = 0
    first_thought_error: str | None = None
    guided_by: tuple[str, ...] = ()
    thoughts_cut: int = 0
    guided_by_basis: tuple[str, ...] = ()
    judge_tokens_decoded: int = 0
    judge_tokens_prefilled: int = 0
    thoughts_empty: int = 0
    finishes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class RunDone(Event):
    """`status` is "done" or "interrupted"; `summary` is what summary.json holds."""

    status: str
    summary: dict[str, Any]
    folder: str


Sink = Callable[[Event], None]
