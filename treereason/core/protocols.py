"""What a task, a scorer, the handle of a search and a search are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import StrEnum
from random import Random
from typing import Any, Protocol, TypeVar, runtime_checkable

from treereason.core.prompt import Prompt, Sampling
from treereason.core.thought import Cost, Problem, Score, Thought


class Task(Protocol):
    """A kind of problem. `tasks/base.py` has defaults for most of it.

    A task may have an attribute `spans`, a `core.spans.Spans`: how its text tells what a token sees of it.
    """

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
them for a batch; `async f(thought, tree)`, or of `thoughts`, may await the tree's primitives first."""
_S = TypeVar("_S", bound=Scorer)


class Basis(StrEnum):
    """What a scorer's verdicts rest on. Reports tell it of each scorer that has guided a search.

    "oracle" knows or recomputes the truth. "label_free" reads what the model did anyway: likelihoods, entropies, votes.
    "judge" asks a model. "derived" combines scores that were given before. "unmarked": its author does not say.
    """

    ORACLE = "oracle"
    LABEL_FREE = "label_free"
    JUDGE = "judge"
    DERIVED = "derived"
    UNMARKED = "unmarked"


def oracle(scorer: _S) -> _S:
    """Mark a scorer that knows or recomputes the truth; returns the `scorer` itself.

    Results that it has guided are reported as such.
    """
    scorer.oracle = True  # type: ignore[attr-defined]
    return _mark(scorer, Basis.ORACLE)


def label_free(scorer: _S) -> _S:
    """Mark a scorer that reads what the model did anyway, and asks neither a label nor a model; returns it."""
    return _mark(scorer, Basis.LABEL_FREE)


def judge(scorer: _S) -> _S:
    """Mark a scorer that asks a model, the run's own or another one; returns it."""
    return _mark(scorer, Basis.JUDGE)


def derived(scorer: _S) -> _S:
    """Mark a scorer that only combines scores which thoughts have already; returns it."""
    return _mark(scorer, Basis.DERIVED)


def basis_of(scorer: object) -> Basis:
    """What the verdicts of a scorer rest on, as its author has marked it."""
    if getattr(scorer, "oracle", False):  # set by hand
        return Basis.ORACLE
    return Basis(getattr(scorer, "basis", Basis.UNMARKED))


def _mark(scorer: _S, basis: Basis) -> _S:
    scorer.basis = basis  # type: ignore[attr-defined]
    return scorer


class Tree(Protocol):
    """What a search is given: one problem's thoughts, and the primitives that make, score and drop them.

    No primitive raises for a thought that fails: such a thought comes back with status FAILED and its error. When the
    problem's budget is spent, a primitive that decodes gives fewer children, then once none; if the search goes on and
    asks again for what it cannot have, it ends there, and `best()` is its answer. A primitive is called and awaited by
    one coroutine of the search, or by several under `gather`. Of a thought, a search may set score, data, part and
    answer.
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
        """Style of the model's prompts (`Style` in core/prompt.py), as "chat"."""
        ...

    @property
    def rng(self) -> Random:
        """Random numbers for the search, seeded by the run's seed and the problem."""
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
        """Whether the thought is only a step: it holds no answer, and its task would continue its tokens.

        One that the search itself cut with `tokens` is no step, but the beginning of one: resume it.
        """
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
        tokens: at most so many per child. A child that this cuts below what the task allows is a beginning: it holds no
        answer until it is resumed to its end. part: the children are parts of an answer, see Thought.
        Where only the likeliest token can come (Sampling.greedy) the children of one thought are equal: one is decoded,
        and its `multiplicity` counts all.
        Raises ValueError when k has another length than `thoughts`, or is below 0.
        """
        ...

    async def resume(self, thoughts: Sequence[Thought], tokens: int) -> list[Thought]:
        """Decode on, in place, those that ended at their limit (finish "length"), `tokens` more at most.

        Never beyond what the task's prompt allows in all. Returns all the thoughts that were given; of those that got
        longer, the answer is read anew and the score is void. For none that can go on it is as if the budget was spent,
        so `while any(thought.finish is Finish.LENGTH ...)` ends.
        """
        ...

    async def write(
        self, thought: Thought, texts: Sequence[str], prompt: Prompt | None = None, *, part: bool = False
    ) -> list[Thought]:
        """Children whose text is given; their `logprob` tells how likely the model finds it. Decodes no token.

        prompt: what comes between thought and text; by default the task's prompt, or nothing where it has none.
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
        """Score those that have no score yet by the run's scorer, or all of them by a scorer of the search's own.

        by: a function, a batch function or a coroutine function (see Scorer). It runs beside the search, without a time
        limit; what it raises fails the thought.
        """
        ...

    def keep(self, thoughts: Sequence[Thought], b: int) -> list[Thought]:
        """The b best scored thoughts, best first, the earliest of equals; the others of this list are pruned.

        Thoughts with equal transcripts are one thought: the earliest stands for all, its `multiplicity` counts them.
        Remembers nothing: thoughts of other lists are left alone. Raises ValueError for one without a score,
        and for b below 0.
        """
        ...

    def drop(self, thoughts: Iterable[Thought]) -> None:
        """Give back the KV of thoughts; never an error. What is wanted again later is computed again.

        A thought that was never kept counts as pruned from then on.
        """
        ...

    def kv_tokens(self, thoughts: Sequence[Thought]) -> int:
        """KV tokens that the paths of these thoughts hold together, in whole pages; what they share counts once.

        A thought whose KV was given back holds none. Raises UserError on a server, which shows no KV.
        """
        ...

    async def gather(self, *coroutines: Awaitable[Any]) -> list[Any]:
        """Results of several coroutines that await primitives, run side by side in rounds.

        In a round each runs to its next primitive, in the order given; then all that they ask for is done together.
        So child ranks, and with them results, depend on the search alone.
        """
        ...

    def best(self) -> Thought | None:
        """The best scored thought so far that holds an answer, pruned ones included; the earliest of equals."""
        ...


class Search(Protocol):
    """An algorithm over a tree. One coroutine per problem; the engine decodes when all of them wait.

    With a method `refusal(task, config) -> str | None` it can say, before a run, why it cannot search for a task.
    """

    async def run(self, tree: Tree) -> Thought | None:
        """The thought to answer with, or None when nothing was found."""
        ...


@runtime_checkable
class Proposing(Protocol):
    """A task that can be asked for several next thoughts in one text (`search.generate=propose`)."""

    def propose_prompt(self, thought: Thought, style: str) -> Prompt | None:
        """Asks for a list of next thoughts below `thought`; None when it needs no further one."""
        ...

    def proposals(self, thought: Thought, text: str) -> list[str]:
        """The texts of the thoughts that were proposed below `thought`, in their order."""
        ...


@runtime_checkable
class Votable(Protocol):
    """A task with words of its own for votes on its thoughts (`scorer=judge_vote`, `search.evaluate=vote`)."""

    def vote_prompt(self, thoughts: Sequence[Thought], style: str) -> Prompt:
        """Asks which of the thoughts is the best, from 1 on. The last number that the model writes is its vote."""
        ...


@runtime_checkable
class Aggregable(Protocol):
    """A task whose thoughts can be joined into one (`search=graph_of_thoughts`)."""

    def aggregate_prompt(self, thoughts: Sequence[Thought], style: str) -> Prompt:
        """Asks for one thought, a whole answer, from answers or from the answers to all parts in their order."""
        ...


@runtime_checkable
class Splittable(Aggregable, Protocol):
    """A task whose problems come apart (`search=graph_of_thoughts`). A thought's `data["part"]` is what it answers."""

    def split(self, problem: Problem, parts: int) -> list[Any]:
        """The inputs of `parts` sub-problems, or of fewer where there are not as many. JSON-like values."""
        ...

    def part_prompt(self, part: Any, style: str) -> Prompt:
        """Asks for the answer to one sub-problem."""
        ...

    def parse_part(self, thought: Thought) -> Any:
        """The answer to the sub-problem in a decoded thought, or None."""
        ...

    def score_part(self, thought: Thought) -> Score:
        """How well the thought answers its sub-problem, also when it has no answer; higher is better."""
        ...


@runtime_checkable
class Planned(Protocol):
    """A task with a plan of its own for `search=graph_of_thoughts`."""

    @property
    def plan(self) -> Sequence[str]:
        """Operations in order, such as "generate 5", "score", "keep 1"."""
        ...
