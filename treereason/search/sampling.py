"""Independent samples of a whole answer, which self-consistency, best of n and the baseline start from."""

from __future__ import annotations

from collections.abc import Sequence

from treereason.core import Thought, Tree


async def sample_answers(tree: Tree, n: int, max_steps: int = 64) -> list[Thought]:
    """n chains from the root to an answer, all decoded together; a step without an answer is continued."""
    return await to_answers(tree, await tree.expand([tree.root], n), max_steps)


async def to_answers(tree: Tree, thoughts: Sequence[Thought], max_steps: int = 64) -> list[Thought]:
    """The ends of one chain below each thought: steps are continued until they hold an answer."""
    ends = list(thoughts)
    for _ in range(max_steps):
        steps = [thought for thought in ends if tree.unfinished(thought)]
        if not steps:
            break
        longer = {thought.parent: thought for thought in await tree.expand(steps, 1)}
        if not longer:
            break
        ends = [longer.get(thought, thought) for thought in ends]
    return ends
