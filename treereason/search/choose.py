"""Choice by log-probability, as multiple choice is scored (Brown et al. 2020, arXiv 2005.14165, section 2.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from treereason.core import Task, Thought, Tree, UserError, label_free


@dataclass(frozen=True)
class Choose:
    """Answer with the option that the model finds likeliest below the problem; nothing is decoded.

    Needs a task whose `options(problem, style)` gives the texts, such as task=choices.
    """

    normalise: Annotated[
        Literal["none", "token", "character"],
        Field(description="none: the sum over an option's tokens; else divided by its tokens or characters"),
    ] = "none"

    def refusal(self, task: Task, config: Any) -> str | None:  # noqa: ARG002
        """Why it cannot search for a task; None where it can."""
        named = f"{type(task).__name__} gives no options"
        return None if hasattr(task, "options") else f"search=choose: {named}: take task=choices"

    async def run(self, tree: Tree) -> Thought | None:
        options = getattr(tree.task, "options", None)
        if options is None:
            raise UserError(self.refusal(tree.task, None))
        written = await tree.write(tree.root, options(tree.root.problem, tree.style))
        await tree.score(written, by=self.likelihood)
        return tree.best()

    @label_free
    def likelihood(self, thought: Thought) -> float:
        """Log-probability of an option, normalised. Raises UserError where a server does not tell it."""
        if thought.logprob is None:
            raise UserError("search=choose ranks by log-probability, and the server tells none: take another")
        if self.normalise == "token":
            return thought.logprob / max(1, thought.num_tokens)
        return thought.logprob / (max(1, len(thought.text.strip())) if self.normalise == "character" else 1)
