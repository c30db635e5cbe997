"""Plans for a graph of thoughts: what one may be, and those of the paper (Besta et al. 2023, arXiv 2308.09687)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from treereason.core import Aggregable, Planned, Splittable, Task

PLAN = re.compile(
    r"(split N, generate N(, (score|keep N))*, aggregate N|generate N)"
    r"(, (score|(generate|keep|aggregate|improve) N))*".replace("N", "[1-9][0-9]{0,3}")
)
BEST = ("score", "keep 1")
SPLIT_PLAN = ("split 2", "generate 5", *BEST, "aggregate 10", *BEST, "improve 10", *BEST)
"""The paper's plan for sorting 32 numbers."""
MERGE_PLAN = ("generate 5", "score", "keep 3", "aggregate 5", *BEST, "improve 10", *BEST)
"""The paper's plan for merging documents."""
WHOLE_PLAN = ("generate 5", *BEST, "improve 5", *BEST)


def plan_of(task: Task) -> Sequence[str]:
    """The task's own plan, or one that fits what it can do."""
    if isinstance(task, Planned):
        return task.plan
    if isinstance(task, Aggregable):
        return SPLIT_PLAN if isinstance(task, Splittable) else MERGE_PLAN
    return WHOLE_PLAN
