"""The types that tasks, searches, the engine and the record share. Standard library only."""

from treereason.core.errors import UserError
from treereason.core.prompt import Prompt, Sampling
from treereason.core.protocols import (
    Aggregable,
    Basis,
    Planned,
    Proposing,
    Scorer,
    Search,
    Splittable,
    Task,
    Tree,
    Votable,
    basis_of,
    derived,
    judge,
    label_free,
    oracle,
)
from treereason.core.requests import Decoded, Expansion, Request, Resumption, Writing
from treereason.core.spans import SpanGrammar
from treereason.core.thought import Cost, Finish, Problem, Score, Status, Thought, ThoughtPath
from treereason.core.token_statistics import TokenStatistics

__all__ = [
    "Aggregable",
    "Basis",
    "Cost",
    "Decoded",
    "Expansion",
    "Finish",
    "Planned",
    "Problem",
    "Prompt",
    "Proposing",
    "Request",
    "Resumption",
    "Sampling",
    "Score",
    "Scorer",
    "Search",
    "SpanGrammar",
    "Splittable",
    "Status",
    "Task",
    "Thought",
    "ThoughtPath",
    "TokenStatistics",
    "Tree",
    "UserError",
    "Votable",
    "Writing",
    "basis_of",
    "derived",
    "judge",
    "label_free",
    "oracle",
]
