"""Graph of thoughts (Besta et al. 2023, arXiv 2308.09687, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from treereason.core import Task, Thought, Tree, UserError
from treereason.search.graph_operations import Operations, cannot_apply
from treereason.search.plans import PLAN, plan_of


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

    def refusal(self, task: Task, config: Any) -> str | None:  # noqa: ARG002
        """Why it cannot search for a task; None where it can."""
        reasons = (cannot_apply(step.partition(" ")[0], task) for step in self.plan or ())
        return next(filter(None, reasons), None)

    async def run(self, tree: Tree) -> Thought | None:
        operations = Operations(tree)
        for step in (*(self.plan or plan_of(tree.task)), "score"):
            name, _, number = step.partition(" ")
            await operations.apply(name, int(number or 1))
            if operations.perfect:
                break
        return tree.best()
