"""One run, checked: everything but the model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from treereason.config import Config
from treereason.core import Problem, Search, Task


def here(path: str) -> str:
    """A path as it is typed from the current folder."""
    prefix = f"{Path.cwd()}{os.sep}"
    return path.removeprefix(prefix)


@dataclass(frozen=True)
class Job:
    """What the command line hands over. scorer: a reference that `plugins.load` understands in any process.

    program, overrides: what the user typed, for the report.
    """

    config: Config
    task: Task
    search: Search
    problems: Sequence[Problem]
    scorer: str
    program: str = "treereason"
    overrides: tuple[str, ...] = ()
