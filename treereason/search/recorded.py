"""Repeats a recorded search: every branch forks, grows and is pruned as the record of `task=recorded` says."""

from __future__ import annotations

from dataclasses import dataclass

from treereason.core import Status, Thought, Tree


@dataclass(frozen=True)
class Recorded:
    """Follow the record generation by generation; a thought that nothing follows is dropped.

    All recorded children of a generation start together. Needs the problems of `task=recorded`.
    """

    async def run(self, tree: Tree) -> Thought | None:
        segments = {tree.root: tree.root.problem.input}
        starting = [tree.root for _ in tree.root.problem.input["children"]]
        last: Thought | None = None
        num_ended = 0
        while starting:
            thoughts = await tree.expand(starting, part=True)
            segments |= {t: segments[above]["children"][t.path[-1]] for t in thoughts if (above := t.parent)}
            # A model that holds fewer tokens than were recorded ends a segment early.
            whole = [t for t in thoughts if t.status is not Status.FAILED and _is_whole(t, segments[t])]
            num_ended += sum(segments[thought]["ends"] for thought in whole)
            last = whole[-1] if whole else last
            following = [thought for thought in whole for _ in segments[thought]["children"]]
            # The children keep the tokens that they continue, so thoughts that have started all of theirs are dropped.
            tree.drop(thought for thought in (*starting, *thoughts) if thought not in following)
            starting = following
        if last is not None:
            last.answer = {"following": 0, "ended": num_ended}
        return last


def _is_whole(thought: Thought, segment: dict[str, int]) -> bool:
    return thought.cost.tokens_decoded == segment["tokens"]
