"""The model's own votes on thoughts (Yao et al. 2023, arXiv 2305.10601, section 3: vote across states)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from treereason.core import Status, Thought, Tree, UserError, Votable, judge


async def vote(tree: Tree, thoughts: Sequence[Thought], n: int) -> None:
    """Ask the model n times which of the thoughts is the best; a thought's score is the number of its votes.

    A text that names none is no vote. Raises UserError for a task that is no `Votable`.
    """
    task = tree.task
    if not isinstance(task, Votable):
        named = f"{type(task).__name__} has no vote_prompt and parse_vote"
        raise UserError(f"search.evaluate=vote: task {named}: leave it at search.evaluate=value")
    standing = [thought for thought in thoughts if thought.status is not Status.FAILED]
    if not standing:
        return
    prompt = task.vote_prompt(standing, tree.style)

    @judge
    async def by_votes(thoughts: Sequence[Thought], tree: Tree) -> list[float]:
        votes = Counter[int | None]()
        ballots = await tree.join(thoughts, prompt, n, part=True)
        for ballot in ballots:
            # At temperature 0 one text stands for all n; the first parent's own multiplicity is not the ballot's.
            votes[task.parse_vote(ballot.text, len(thoughts))] += ballot.multiplicity // thoughts[0].multiplicity
        tree.drop(ballots)
        return [float(votes[i]) for i in range(len(thoughts))]

    await tree.score(standing, by=by_votes)
