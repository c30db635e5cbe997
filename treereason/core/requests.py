"""What the controller asks of a decoder, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass

from treereason.core.prompt import Prompt, Sampling
from treereason.core.thought import Cost, Finish, ThoughtPath
from treereason.core.token_statistics import TokenStatistics


@dataclass(frozen=True)
class Expansion:
    """Decode new thoughts from one prompt.

    problem: id of the problem that they belong to; any text without a task. parent: path of the thought that an
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
    text, logprob: of the whole thought, its earlier pieces included when it was resumed; logprob as in Thought.
    cost: of this request alone.
    num_tokens: as in Thought.
    finish, stop: as in Thought; finish is None with an error.
    prompt: the prompt's text as the model saw it, or None where that is not known.
    token_statistics: as in Thought, of the whole thought.
    seen: under a span policy, what its last token saw of its path, piece by piece; () where that is everything.
    token_ids: of the tokens that this request sampled; () on a server.
    """

    problem: str
    path: ThoughtPath
    text: str
    logprob: float | None
    cost: Cost
    error: str | None = None
    finish: Finish | None = None
    stop: str = ""
    prompt: str | None = None
    num_tokens: int = 0
    token_statistics: TokenStatistics | None = None
    seen: tuple[str, ...] = ()
    token_ids: tuple[int, ...] = ()
