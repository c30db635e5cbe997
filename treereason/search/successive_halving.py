"""Early pruning in mid-thought by successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from treereason.core import Finish, Thought, Tree, UserError, label_free
from treereason.search.limits import Samples
from treereason.search.sampling import to_answers


@dataclass(frozen=True)
class SuccessiveHalving:
    """n samples grow by `chunk` tokens; then the likelier 1 / eta of them goes on, and so on until all are whole.

    The arms of the paper are samples; the loss of one is minus the mean log-probability of its tokens, so no scorer is
    asked. n and eta are the paper's. Where an answer has several steps, those that are left of the first go on to one.
    """

    n: Annotated[Samples, Field(description="samples to start with")] = 8
    eta: Annotated[int, Field(ge=2, le=1024, description="one of so many samples goes on")] = 2
    chunk: Annotated[int, Field(ge=1, le=2**20, description="tokens that a sample gets between two prunings")] = 16

    async def run(self, tree: Tree) -> Thought | None:
        alive = await tree.expand([tree.root], self.n, tokens=self.chunk)
        while any(thought.finish is Finish.LENGTH for thought in alive):
            await tree.score(alive, by=mean_logprob)
            alive = tree.keep(alive, -(-len(alive) // self.eta))
            await tree.resume(alive, self.chunk)
        whole = [thought for thought in await to_answers(tree, alive) if thought.answer is not None]
        await tree.score(whole, by=mean_logprob)
        return max(whole, key=mean_logprob, default=None)


@label_free
def mean_logprob(thought: Thought) -> float:
    """Mean log-probability of a thought's tokens. Raises UserError where a server does not tell it."""
    if thought.logprob is None:
        raise UserError("search=successive_halving ranks by log-probability, and the server tells none: take another")
    return thought.logprob / max(1, thought.cost.tokens_decoded)
