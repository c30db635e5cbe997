"""A whole task: merge two sorted lists. treereason task=./examples/merge_lists.py search=best_of_n search.n=5"""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from treereason.core import Thought, oracle
from treereason.tasks import BaseTask, Template


@dataclass(frozen=True)
class MergeLists(BaseTask):
    length: int = 32
    scorer, templates = "merge_errors", {"embedded": {"solve": Template("merge {left}+{right}=")}}

    def generate(self, rng: Random) -> tuple[dict[str, str], str]:
        left, right = ("".join(sorted(rng.choices("0123456789", k=self.length))) for _ in range(2))
        return {"left": left, "right": right}, "".join(sorted(left + right))


@oracle
def merge_errors(thought: Thought) -> float:
    given, found = Counter("".join(thought.problem.input.values())), Counter(thought.text)
    return -((given - found) + (found - given)).total() - sum(a > b for a, b in pairwise(thought.text))
