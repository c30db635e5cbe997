"""The operations of a graph of thoughts (Besta et al. 2023, arXiv 2308.09687, section 3.2 and appendix)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from treereason.core import Aggregable, Splittable, Task, Thought, Tree, UserError
from treereason.search.limits import MOST_CHILDREN
from treereason.search.sampling import to_answers


def cannot_apply(operation: str, task: Task) -> str | None:
    """Why a task takes no operation of that name; None where it does."""
    named = f"search.plan: {operation}: task {type(task).__name__}"
    if operation == "split" and not isinstance(task, Splittable):
        return f"{named} has no split: leave it out of the plan"
    if operation == "aggregate" and not isinstance(task, Aggregable):
        return f"{named} has no aggregate_prompt: leave it out of the plan"
    return None


@dataclass(eq=False)
class Group:
    """Thoughts that compete: answers to one part of the problem, or to all of it (`task` is then None)."""

    thoughts: list[Thought]
    task: Splittable | None = None
    part: Any = field(default=None)


class Operations:
    """What has been thought of so far, in groups, and the operations that change it."""

    def __init__(self, tree: Tree) -> None:
        self.groups = [Group([tree.root])]
        self._tree = tree

    @property
    def perfect(self) -> bool:
        """Whether an answer to the whole problem has a final score."""
        whole = [thought for group in self.groups if group.task is None for thought in group.thoughts]
        return any(thought.score is not None and thought.score.final for thought in whole)

    async def apply(self, name: str, number: int) -> None:
        """One operation, on all groups side by side. Raises UserError where it would make too many thoughts."""
        num_made = number * sum(len(group.thoughts) for group in self.groups)
        if name in ("generate", "improve") and num_made > MOST_CHILDREN:
            raise UserError(f"search.plan: {name} {number}: {num_made:,} thoughts at once, more than {MOST_CHILDREN:,}")
        match name:
            case "split":
                self.split(number)
            case "aggregate":
                await self.aggregate(number)
            case _:
                await self._tree.gather(*(self.in_group(name, group, number) for group in self.groups))

    async def in_group(self, name: str, group: Group, number: int) -> None:
        """One operation, on one group."""
        match name:
            case "generate":
                await self.generate(group, number)
            case "score":
                await self.score(group)
            case "keep":
                await self.keep(group, number)
            case _:
                assert name == "improve"
                await self.improve(group, number)

    def split(self, num: int) -> None:
        """A group for each part of the problem. Raises UserError for a task that is not `Splittable`."""
        root, task = self._tree.root, self._tree.task
        if not isinstance(task, Splittable):
            raise UserError(cannot_apply("split", task))
        self.groups = [Group([root], task, part) for part in task.split(root.problem, num)]

    async def generate(self, group: Group, k: int) -> None:
        """k answers below each thought take its place."""
        tree = self._tree
        if group.task is None:
            group.thoughts = await to_answers(tree, await tree.expand(group.thoughts, k))
            return
        prompt = group.task.part_prompt(group.part, tree.style)
        group.thoughts = await tree.expand([tree.root], k, prompt=prompt, part=True)
        for thought in group.thoughts:
            thought.data["part"] = group.part

    async def score(self, group: Group) -> None:
        """Parts by the task's `score_part`, whole answers by the run's scorer."""
        unscored = [thought for thought in group.thoughts if thought.score is None]
        await self._tree.score(unscored, by=group.task.score_part if group.task is not None else None)

    async def keep(self, group: Group, num: int) -> None:
        """The best of each group stay."""
        await self.score(group)
        group.thoughts = self._tree.keep([thought for thought in group.thoughts if thought.score is not None], num)

    async def improve(self, group: Group, k: int) -> None:
        """k better versions of each thought compete with it."""
        made = await to_answers(self._tree, await self._tree.expand(group.thoughts, k))
        group.thoughts = list(dict.fromkeys([*group.thoughts, *made]))

    async def aggregate(self, k: int) -> None:
        """k answers made of all thoughts; where those answer the whole problem as well, they compete with them.

        Raises UserError for a task that is not `Aggregable`.
        """
        tree, task = self._tree, self._tree.task
        if not isinstance(task, Aggregable):
            raise UserError(cannot_apply("aggregate", task))
        parents = [thought for group in self.groups for thought in group.thoughts]
        if not parents or not all(group.thoughts for group in self.groups):
            self.groups = []
            return
        joined = await to_answers(tree, await tree.join(parents, task.aggregate_prompt(parents, tree.style), k))
        self.groups = [Group([*(thought for thought in parents if not thought.part), *joined])]
