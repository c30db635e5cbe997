"""One run, checked: everything but the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from treereason.config.schema import Config
from treereason.core import Problem, Search, Task


@dataclass(frozen=True)
class RunSpec:
    """What the command line hands over. scorer: a reference that `user_files.load` understands in any process.

    program, overrides: what the user typed, for the report.
    """

    config: Config
    task: Task
    search: Search
    problems: Sequence[Problem]
    scorer: str
    program: str = "treereason"
    overrides: tuple[str, ...] = ()
