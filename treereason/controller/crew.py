"""Workers as the process that keeps the journal sees them, wherever they run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from treereason.config.schema import Config
from treereason.controller.worker import Lease
from treereason.core import Problem


class WorkerDied(Exception):
    """A worker is no more. The text says how it ended, and may say where to read why."""


@dataclass(eq=False)
class Worker(ABC):
    """One worker; `leases` are the problems that it is at."""

    number: int
    leases: dict[str, Problem] = field(default_factory=dict, init=False)

    @abstractmethod
    def send(self, message: Lease | None) -> None:
        """Hand over a problem, or None at the end of all work. Of one that has died nothing is said here."""

    @abstractmethod
    def recv(self) -> object:
        """The next that it tells: Ready, events, or a UserError. Raises WorkerDied."""


@dataclass(frozen=True)
class Crew:
    """All workers of a run. wait: those of the given ones that have told something or died, after so many seconds."""

    workers: list[Worker]
    wait: Callable[[list[Worker], float], list[Worker]]


Launcher = Callable[[Config, int, int, Path], AbstractContextManager[Crew]]
"""Starts so many workers, each with so many problems at once, for a folder. However the block ends, none is left."""
