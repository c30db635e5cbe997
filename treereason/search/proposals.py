"""Several next thoughts from one decoded text (Yao et al. 2023, arXiv 2305.10601, section 3: the propose prompt)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from treereason.core import Proposing, Task, Thought, Tree, UserError
from treereason.core.judges import Vote


def cannot_propose(task: Task) -> str | None:
    """Why a task takes no `search.generate=propose`; None where it does."""
    if isinstance(task, Proposing):
        return None
    named = f"{type(task).__name__} has no propose_prompt and proposals"
    return f"search.generate=propose: task {named}: leave it at search.generate=sample"


def refusal_of_steps(search: object, task: Task, config: Any) -> str | None:
    """The method `refusal` of a search by `generate` and perhaps `evaluate`: why it cannot search for a task."""
    if getattr(search, "generate", "") == "propose" and (reason := cannot_propose(task)):
        return reason
    reason = Vote.refusal(task, config) if getattr(search, "evaluate", "") == "vote" else None
    return f"search.evaluate=vote: {reason}" if reason else None


async def next_thoughts(tree: Tree, thoughts: Sequence[Thought], k: int, generate: str) -> list[Thought]:
    """k samples below each thought, or with generate="propose" what one text proposes."""
    return await (propose(tree, thoughts, k) if generate == "propose" else tree.expand(thoughts, k))


async def propose(tree: Tree, thoughts: Sequence[Thought], k: int) -> list[Thought]:
    """At most k different proposals below each thought; one that needs no further thought is returned itself.

    The text that holds the proposals is dropped, and each proposal is written below its thought. Raises UserError for a
    task that is no `Proposing`.
    """
    task = tree.task
    if not isinstance(task, Proposing):
        raise UserError(cannot_propose(task))

    async def below(thought: Thought) -> list[Thought]:
        prompt = task.propose_prompt(thought, tree.style)
        if prompt is None:
            return [thought]
        text = await tree.probe(thought, prompt)
        return await tree.write(thought, list(dict.fromkeys(task.proposals(thought, text)))[:k])

    return [child for children in await tree.gather(*map(below, thoughts)) for child in children]
