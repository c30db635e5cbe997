"""A run from Python, with a scorer of one's own: python examples/from_python.py, or cell by cell in a notebook."""

from itertools import pairwise

import treereason as tr


def in_order(thought: tr.Thought) -> float:
    """Share of neighbours in ascending order: what can be judged without knowing the truth."""
    answer = thought.answer or []
    return sum(a <= b for a, b in pairwise(answer)) / max(1, len(answer) - 1)


model = tr.load("embedded")
run = tr.run(tr.tasks.Sorting(length=16, limit=5), tr.search.BestOfN(n=4), model, scorer=in_order, seed=0)
print(run)
for problem in run.problems:
    print(problem.id, problem.solved, problem.score, problem.best.transcript() if problem.best else problem.error)
