"""Choice by log-probability: treereason task=./examples/choice.py search=./examples/choice.py"""

from dataclasses import dataclass
from random import Random
from typing import Annotated, Any

from pydantic import Field

from treereason import Thought, Tree, oracle
from treereason.tasks import BaseTask, Template
from treereason.tasks.generators.arithmetic import evaluate, generate_expression


@dataclass(frozen=True)
class Arithmetic(BaseTask):
    """An expression and numbers of which one is its value."""

    options: Annotated[int, Field(ge=2, description="numbers to choose from")] = 4
    scorer, templates = "chosen_right", {"embedded": {"solve": Template("Q{question}\n")}}

    def generate(self, rng: Random) -> tuple[dict[str, Any], str]:
        question = generate_expression(rng, 1)
        right = evaluate(question)
        wrong = rng.sample([n for n in range(max(0, right - 9), right + 10) if n != right], self.options - 1)
        return {"question": question, "options": [f"A{n}" for n in sorted([right, *wrong])]}, f"A{right}"


class Choice:
    """Answer with the option that the model finds likeliest; nothing is decoded."""

    async def run(self, tree: Tree) -> Thought | None:
        written = await tree.write(tree.root, tree.root.problem.input["options"])
        await tree.score(written, by=lambda thought: thought.logprob)
        return tree.best()


@oracle
def chosen_right(thought: Thought) -> float:
    return float(thought.answer == thought.problem.target)
