"""A search: treereason task=sorting task.length=64 search=./examples/rising_temperature.py"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from treereason import Sampling, Thought, Tree, register


@register
@dataclass(frozen=True)
class RisingTemperature:
    """Sample once per temperature, the coldest first, until a score is final."""

    temperatures: Annotated[tuple[float, ...], Field(description="of the samples")] = (0.0, 0.3, 0.7, 1.0, 1.3)

    async def run(self, tree: Tree) -> Thought | None:
        for temperature in self.temperatures:
            await tree.score(made := await tree.expand([tree.root], sampling=Sampling(temperature=temperature)))
            if any(thought.score and thought.score.final for thought in made):
                break
        return tree.best()
