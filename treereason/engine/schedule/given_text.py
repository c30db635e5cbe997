"""A child whose text is given: how likely the model finds each of its tokens, as their logits come in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from treereason.engine.kv.forest import Node
from treereason.engine.schedule.branch import Branch


@dataclass(frozen=True)
class GivenTokens:
    """Tokens of a text whose log-probabilities a step gives.

    node, rows: the i-th one's logits are those of row `rows[i]` among the rows that the step computes of `node`.
    first: index of the first one in the text.
    """

    text: GivenText
    node: Node
    rows: range
    first: int

    @property
    def tokens(self) -> list[int]:
        return self.text.branch.tokens[self.first : self.first + len(self.rows)]


@dataclass(eq=False)
class GivenText:
    """`branch` holds the text's tokens; its node ends with the last but one, since no logits are wanted of the last.

    start: position of the first token. num_prefilled: tokens that it adds to the forest. logprobs: of each token, None
    until known. statistics: of each token's distribution by its index, where the engine computes them. ready: all its
    logits come with this step, or came before.
    """

    branch: Branch
    start: int
    logprobs: list[float | None] = field(init=False)
    num_prefilled: int = 0
    statistics: dict[int, Sequence[float]] = field(default_factory=dict)
    ready: bool = False

    def __post_init__(self) -> None:
        self.logprobs = [None] * len(self.branch.tokens)

    @property
    def node(self) -> Node:
        return self.branch.node

    def parts(self) -> Iterator[Node]:
        """The nodes whose rows it wants, from the bottom up: its own, and the prompt's last one."""
        node = self.node
        while node.parent is not None and node.end >= self.start:
            yield node
            node = node.parent

    def measured_by(self, num_new: Mapping[Node, int]) -> Iterator[GivenTokens]:
        """What a step tells of the text that computes the last num_new[node] stored tokens of nodes."""
        for node in self.parts() if self.logprobs else ():
            if count := num_new.get(node, 0):
                # The token at `position` is judged by the row before it.
                position = max(self.start, node.start + node.num_cached - count + 1)
                num_rows = node.start + node.num_cached + 1 - position
                if num_rows > 0:
                    yield GivenTokens(self, node, range(count - num_rows, count), position - self.start)

    def take(self, first: int, logprobs: Sequence[float]) -> None:
        """Enter the log-probabilities of the tokens from `first` on."""
        self.logprobs[first : first + len(logprobs)] = logprobs

    def measure(self, first: int, rows: Sequence[Sequence[float]]) -> None:
        """Enter the statistics of the tokens from `first` on."""
        self.statistics.update(enumerate(rows, first))

    def finish(self) -> None:
        """Sum up what was measured; the branch fails where the model gave no number."""
        logprobs = [math.nan if logprob is None else logprob for logprob in self.logprobs]
        strange = next((i for i, logprob in enumerate(logprobs) if math.isnan(logprob)), None)
        if strange is not None:
            self.branch.fail_at(self.start + strange)
        else:
            self.branch.logprob = sum(logprobs)
            if self.statistics:
                self.branch.measure(self.statistics[i] for i in range(len(logprobs)))
