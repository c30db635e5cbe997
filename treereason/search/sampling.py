"""Independent samples of a whole answer, which self-consistency, best of n and the baseline start from."""

from __future__ import annotations

from treereason.core import Thought, Tree

MOST_SAMPLES = 2**14  # of one prompt: all start at once, each with a row of logits


async def sample_answers(tree: Tree, n: int, max_steps: int = 64) -> list[Thought]:
    """n chains from the root to an answer, all decoded together; a step without an answer is continued."""
    thoughts = await tree.expand([tree.root], n)
    for _ in range(max_steps):
        steps = [thought for thought in thoughts if tree.unfinished(thought)]
        if not steps:
            break
        longer = {thought.parent: thought for thought in await tree.expand(steps, 1)}
        if not longer:
            break
        thoughts = [longer.get(thought, thought) for thought in thoughts]
    return thoughts
