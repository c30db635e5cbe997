"""The interface of the ways to compute a step. The engine asks the quickest way first, and the next one if it refuses.

A new way is one class here and one entry in the engine's list.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from treereason.engine.kv.forest import Node
from treereason.engine.schedule.branch import Branch
from treereason.engine.schedule.step_batch import StepBatch


@dataclass(frozen=True)
class Refusal:
    """Why one way cannot compute a step. The reason is told in the step's figures (`StepDone.launch`)."""

    reason: str


@dataclass(frozen=True)
class Drawn:
    """What rows of a step draw: tokens, and their log-probabilities at temperature 1, NaN where a row's logits have a
    NaN or an infinity. statistics: of each row's distribution, where the engine computes them.

    A branch has a row for its next token and, behind it, one for what follows each token of its draft, in their order.
    """

    tokens: list[int]
    logprobs: list[float]
    statistics: list[list[float]] | None = None


class StepKind(Protocol):
    """One way to compute a step: `start`, then `finish` once. Between them, the host is free while a GPU computes."""

    @property
    def launch(self) -> str:
        """Its name in a step's figures (`StepDone.launch`); "" for the way that needs no name."""
        ...

    def start(self, batch: StepBatch) -> Refusal | None:
        """Begin to compute the batch, whose tokens have their pages already; or refuse, and leave all as it was."""
        ...

    def finish(self, branches: Sequence[Branch]) -> Drawn:
        """Wait for the step. What the rows of each branch draw, one branch after the other.

        branches: those of the batch, then those that its prompts have started. The logits of one come from the last
        own row of its node or, if it has no token of its own yet, of the node above. Log-probabilities of given texts
        are entered into the batch.
        """
        ...

    @property
    def kv_tokens_read(self) -> int:
        """KV tokens that the step reads if each node is read once; known when it has started."""
        ...

    @property
    def kv_tokens_seen(self) -> int:
        """As `kv_tokens_read`, but of what rows see under a span policy; the same without one."""
        ...

    @property
    def ahead(self) -> Collection[Node]:
        """Nodes of branches whose next token it computes already: the next step is to be of these branches alone."""
        ...

    @property
    def num_bytes(self) -> int:
        """Device memory that it holds from step to step, beside model and KV."""
        ...
