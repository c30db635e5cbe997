"""A scorer alone: treereason task=few_shot search=best_of_n search.n=15 scorer=./examples/short_steps.py:short_steps"""

from treereason.core import Thought
from treereason.tasks.steps_hold import steps_hold


def short_steps(thought: Thought) -> float:
    """Steps that hold, and of those solutions the one with fewer tokens."""
    return steps_hold(thought).value - 0.001 * len(thought.text)
