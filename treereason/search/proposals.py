"""Several next thoughts from one decoded text (Yao et al. 2023, arXiv 2305.10601, section 3: the propose prompt)."""

from __future__ import annotations

from collections.abc import Sequence

from treereason.core import Proposing, Task, Thought, Tree, UserError


def cannot_propose(task: Task) -> str | None:
    """Why a task takes no `search.generate=propose`; None where it does."""
    if isinstance(task, Proposing):
        return None
    named = f"{type(task).__name__} has no propose_prompt and proposals"
    return f"search.generate=propose: task {named}: leave it at search.generate=sample"


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
