"""A whole task: merge two sorted lists. treereason task=./examples/merge_lists.py search=best_of_n search.n=5"""

from dataclasses import dataclass
from random import Random

from treereason.core import Thought
from treereason.tasks.base import BaseTask, Template

PROMPTS = {"embedded": {"solve": Template("merge {left}+{right}=")}}


@dataclass(frozen=True)
class MergeLists(BaseTask):
    length: int = 32
    scorer, templates = "order_and_length", PROMPTS

    def generate(self, rng: Random) -> tuple[dict[str, str], str]:
        left, right = (sorted(rng.choices("0123456789", k=self.length)) for _ in range(2))
        return {"left": "".join(left), "right": "".join(right)}, "".join(sorted(left + right))


def order_and_length(thought: Thought) -> float:
    missing = abs(len(thought.text) - len("".join(thought.problem.input.values())))
    return -missing - sum(a > b for a, b in zip(thought.text, thought.text[1:], strict=False))
