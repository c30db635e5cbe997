"""The types that tasks, searches, the engine and the record share. Standard library only."""

from treereason.core.errors import UserError
from treereason.core.prompt import Prompt, Sampling
from treereason.core.protocols import Scorer, Search, Task, Tree, oracle
from treereason.core.requests import Decoded, Expansion, Request, Resumption, Writing
from treereason.core.thought import Cost, Finish, Problem, Score, Status, Thought, ThoughtPath

__all__ = [
    "Cost",
    "Decoded",
    "Expansion",
    "Finish",
    "Problem",
    "Prompt",
    "Request",
    "Resumption",
    "Sampling",
    "Score",
    "Scorer",
    "Search",
    "Status",
    "Task",
    "Thought",
    "ThoughtPath",
    "Tree",
    "UserError",
    "Writing",
    "oracle",
]
