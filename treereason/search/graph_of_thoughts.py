"""Graph of thoughts (Besta et al. 2023, arXiv 2308.09687, section 3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from treereason.core import Planned, Splittable, Task, Thought, Tree, UserError
from treereason.search.graph_operations import Operations

PLAN = re.compile(
    r"(split N, generate N(, (score|keep N))*, aggregate N|generate N)"
    r"(, (score|(generate|keep|aggregate|improve) N))*".replace("N", "[1-9][0-9]{0,3}")
)
BEST = ("score", "keep 1")
SPLIT_PLAN = ("split 2", "generate 5", *BEST, "aggregate 10", *BEST, "improve 10", *BEST)
"""The paper's plan for sorting 32 numbers."""
WHOLE_PLAN = ("generate 5", *BEST, "improve 5", *BEST)


@dataclass(frozen=True)
class GraphOfThoughts:
    """Follow a plan, the paper's graph of operations: split, generate, score, keep, aggregate, improve, with numbers.

    Each operation takes the thoughts that the one before it has left; `Operations` says what it does with them. The
    task splits the problem itself, where the paper asks the model. How many tries a judge has is an option of the
    scorer. Ends early at a final score, and answers with the best scored answer.
    """

    plan: Annotated[
        tuple[str, ...] | None,
        Field(description='operations such as ["generate 5",score,"keep 1"]; null: those that the task plans'),
    ] = None

    def __post_init__(self) -> None:
        if self.plan is not None and not PLAN.fullmatch(", ".join(self.plan)):
            raise UserError(
                f"search.plan=[{','.join(self.plan)}]: begin with generate N, or with split N, generate N and later "
                "aggregate N; what may follow is score, and keep, aggregate, improve or generate with a number"
            )

    async def run(self, tree: Tree) -> Thought | None:
        operations = Operations(tree)
        for step in (*(self.plan or plan_of(tree.task)), "score"):
            name, _, number = step.partition(" ")
            await operations.apply(name, int(number or 1))
            if operations.perfect:
                break
        return tree.best()


def plan_of(task: Task) -> Sequence[str]:
    """The task's own plan, or one that fits what it can do."""
    return task.plan if isinstance(task, Planned) else SPLIT_PLAN if isinstance(task, Splittable) else WHOLE_PLAN
