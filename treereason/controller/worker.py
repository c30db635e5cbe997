"""One process of several that share a run: it computes the problems that it is given, and tells its events.

Started by a launcher for `workers.py`, which writes the journal. It dies with the process that started it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from treereason.config.schema import Config
from treereason.controller.fingerprint import fingerprint
from treereason.controller.machine import Machine
from treereason.controller.model import load, settled
from treereason.controller.run_spec import spec_of
from treereason.core import Problem, UserError
from treereason.record.begun_problem import BegunProblem

IDLE_S = 0.05


@dataclass(frozen=True)
class Hello:
    """What a worker is started with. folder: for what a scorer prints. parallel_problems: given at once, at most."""

    config: Config
    folder: Path | None
    parallel_problems: int


@dataclass(frozen=True)
class Ready:
    """A worker has loaded its model. mark: the fingerprint of the run as it sees it."""

    config: Config
    mark: dict[str, str]
    repeats: str
    remarks: dict[str, Any]


@dataclass(frozen=True)
class Lease:
    """A problem to compute, with what is recorded of it."""

    pass_name: str
    problem: str
    record: BegunProblem


class Leases:
    """Hands the runner the problems that come over the connection; `None` there ends the work."""

    def __init__(self, connection: Connection, problems: dict[str, Problem]) -> None:
        self.records: dict[str, BegunProblem] = {}
        self.more = True
        self.over = False
        self._connection = connection
        self._problems = problems
        self._pass_name = ""
        self._waiting: deque[Lease] = deque()

    def next_pass(self) -> str | None:
        """The pass of the next problem, which is waited for; None when there is no more work."""
        while not self._waiting and not self.over:
            self._receive()
        self.more = True
        self._pass_name = self._waiting[0].pass_name if self._waiting else ""
        return self._pass_name or None

    def take(self, *, wait: bool) -> Problem | None:
        while self._connection.poll(IDLE_S if wait and not self._waiting else 0.0) and not self.over:
            self._receive()
        if self._waiting and self._waiting[0].pass_name != self._pass_name:
            self.more = False  # the pass is over: its problems are all done
        elif self._waiting:
            lease = self._waiting.popleft()
            self.records[lease.problem] = lease.record
            return self._problems[lease.problem]
        self.more = self.more and not self.over
        return None

    def stopped(self) -> bool:
        """Whether the work is to end, in the middle of problems too."""
        while not self.over and self._connection.poll(0.0):
            self._receive()
        return self.over

    def _receive(self) -> None:
        try:
            lease: Lease | None = self._connection.recv()
        except (EOFError, OSError):  # nobody takes what this process computes
            os._exit(1)
        if lease is None:
            self.over = True
        else:
            self._waiting.append(lease)


def main(descriptor: int) -> None:
    """Work until the connection says that it is enough."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal it goes to all, and the one that started this decides
    connection = Connection(descriptor)
    work(connection, connection.recv())


def work(connection: Connection, hello: Hello) -> None:
    """Load the model, then compute what comes over the connection and tell it there; closes the connection."""
    with connection:
        try:
            model = load(hello.config.model, hello.config.engine.cpu)
            spec = spec_of(hello.config)
            spec = replace(spec, config=settled(spec.config, model))
            with Machine(spec, model, hello.folder) as machine:
                connection.send(Ready(spec.config, fingerprint(spec, model), machine.repeats, machine.remarks))
                leases = Leases(connection, {problem.id: problem for problem in spec.problems})
                while (pass_name := leases.next_pass()) is not None:
                    machine.runner(
                        pass_name,
                        connection.send,
                        records=leases.records,
                        parallel_problems=hello.parallel_problems,
                        stopped=leases.stopped,
                    ).run(leases)
        except UserError as error:
            with suppress(OSError):
                connection.send(error)


if __name__ == "__main__":
    main(int(sys.argv[1]))
