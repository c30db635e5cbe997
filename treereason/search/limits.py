"""Upper bounds that options of searches share, and the types that carry them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

MOST_SAMPLES = 2**14  # of one prompt: all start at once, each with a row of logits
MOST_CHILDREN = 2**16  # as many as decode together at most
MOST_STEPS = 10_000  # each is at least one decoded token behind the last, and no context is as long
MOST_ROLLOUTS = 100_000

WIDEST = 1e15  # of scores, and of what is weighed against them

Samples = Annotated[int, Field(ge=1, le=MOST_SAMPLES)]
Steps = Annotated[int, Field(ge=1, le=MOST_STEPS)]
Rollouts = Annotated[int, Field(ge=1, le=MOST_ROLLOUTS)]
Weight = Annotated[float, Field(ge=0, le=WIDEST)]
Temperature = Annotated[float, Field(ge=1e-6, le=WIDEST)]
