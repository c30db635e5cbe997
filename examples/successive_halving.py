"""Early pruning in mid-thought: treereason task=sorting task.length=64 search=./examples/successive_halving.py"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from treereason import Finish, Thought, Tree


@dataclass(frozen=True)
class SuccessiveHalving:
    """After each chunk of tokens the likelier half goes on (Jamieson and Talwalkar 2016, arXiv 1502.07943).

    The arms are n samples; the loss of one is minus the mean log-probability of its tokens, so no scorer is asked.
    """

    n: Annotated[int, Field(ge=1, description="samples to start with")] = 8
    chunk: Annotated[int, Field(ge=1, description="tokens between two halvings, per sample")] = 16

    async def run(self, tree: Tree) -> Thought | None:
        alive = await tree.expand([tree.root], self.n, tokens=self.chunk)
        while any(thought.finish is Finish.LENGTH for thought in alive):
            await tree.score(alive, by=mean_logprob)
            alive = tree.keep(alive, (len(alive) + 1) // 2)
            await tree.resume(alive, self.chunk)
        await tree.score(alive, by=mean_logprob)
        return max(alive, key=lambda thought: thought.score.value, default=None)


def mean_logprob(thought: Thought) -> float:
    return thought.logprob / max(1, thought.cost.tokens_decoded)
