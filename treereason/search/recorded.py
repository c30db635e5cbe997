"""Repeats a recorded search: every branch forks, grows and is pruned as the record of `task=recorded` says."""

from __future__ import annotations

from dataclasses import dataclass

from treereason.core import Status, Thought, Tree


@dataclass(frozen=True)
class Recorded:
    """Follow the record generation by generation; a thought without recorded children is pruned.

    All recorded children of a generation start together. Needs the problems of `task=recorded`.
    """

    async def run(self, tree: Tree) -> Thought | None:
        recorded = tree.root.problem.input
        parents, starting = [tree.root], [tree.root] * len(recorded["children"])
        last: Thought | None = None
        ended = 0
        while starting:
            thoughts = [t for t in await tree.expand(starting, 1) if t.status is Status.DECODED]
            ended += sum(thought.answer["ended"] for thought in thoughts)
            last = thoughts[-1] if thoughts else last
            starting = [thought for thought in thoughts for _ in range(thought.answer["following"])]
            # The children hold the tokens that they stand on, so whoever has started them may go.
            tree.keep([t for t in (*parents, *thoughts) if t.depth and t not in starting], 0)
            parents = list(dict.fromkeys(starting))
        if last is not None:
            last.answer = {"following": 0, "ended": ended}
            await tree.score([last])
        return last
