"""The interface of the ways to compute a step. The engine asks the quickest way first, and the next one if it refuses.

A new way (for example, with rows of speculative tokens) is one class here and one entry in the engine's list.
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


class StepKind(Protocol):
    """One way to compute a step: `start`, then `finish` once. Between them, the host is free while a GPU computes."""

    @property
    def launch(self) -> str:
        """Its name in a step's figures (`StepDone.launch`); "" for the way that needs no name."""
        ...

    def start(self, batch: StepBatch) -> Refusal | None:
        """Begin to compute the batch, whose tokens have their pages already; or refuse, and leave all as it was."""
        ...

    def finish(self, branches: Sequence[Branch]) -> tuple[list[int], list[float]]:
        """Wait for the step. The next token of each branch, and its log-probability at temperature 1.

        branches: those of the batch, then those that its prompts have started. The logits of one come from the last
        row of its node or, if it has no token of its own yet, of the node above. A log-probability is NaN where logits
        are NaN or infinite. Log-probabilities of given texts are entered into the batch.
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
