"""Several processes on one machine that share the problems of a run; this one leases them out and keeps the record.

What a worker has told is committed here. When one dies, its problems go to the others with what is recorded of them,
and go on inside.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

import torch

from treereason import events
from treereason.config.schema import Config, ModelConfig
from treereason.controller.free_cores import free_cores
from treereason.controller.parts import passes
from treereason.controller.recording import Recording, changes
from treereason.controller.run_spec import RunSpec
from treereason.controller.worker import Hello, Lease, Ready
from treereason.core import Problem, UserError
from treereason.display.base import Display
from treereason.engine.model.embedded import SHIPPED
from treereason.record.journal import NAME as JOURNAL
from treereason.record.recorded_problem import RecordedProblem
from treereason.record.recorded_run import RecordedRun, recorded_run
from treereason.record.row import row_of

GLANCE_S = 0.2
LOG = "workers.log"
_BOOT = "import sys; sys.path[:] = sys.argv[2:]; from treereason.controller.worker import main; main(int(sys.argv[1]))"


@dataclass(eq=False)
class Worker:
    """One process; `leases` are the problems that it is at."""

    number: int
    process: subprocess.Popen[bytes]
    connection: Connection
    leases: dict[str, Problem] = field(default_factory=dict)


def run_with_workers(
    spec: RunSpec,
    folder: Path,
    screen: Display | None = None,
    stopped: Callable[[], bool] = lambda: False,
    before: RecordedRun | None = None,
    *,
    force: bool = False,
) -> dict[str, Any]:
    """As `run_experiment`, with `spec.config.workers` processes; the journal, results and summary are the same.

    Raises UserError as that does, and when all workers have died.
    """
    folder.mkdir(parents=True, exist_ok=True)
    screen = screen or Display()
    num_workers = min(spec.config.workers, max(1, len(spec.problems)))
    share = -(-min(spec.config.engine.parallel_problems, len(spec.problems)) // num_workers)
    with _workers(spec.config, num_workers, share, folder) as workers:
        ready = [_ready(worker) for worker in workers]
        if not isinstance(spec.config.model, ModelConfig):  # what a server's `auto` has come to
            spec = replace(spec, config=spec.config.model_copy(update={"model": ready[0].config.model}))
        mark = ready[0].mark
        found = changes(before.started, spec, mark, force=force) if before is not None else []
        with Recording(folder, screen, before) as emit:
            emit.go_on(found)
            for pass_name, _, _ in passes(spec):
                if stopped():
                    break
                begun = emit.begin(spec, pass_name, ready[0].repeats, mark)
                waiting = deque(problem for problem in spec.problems if problem.id not in begun.done)
                _Pass(pass_name, workers, share, emit, begun.begun, folder / JOURNAL).run(waiting, stopped)
            for worker in workers:
                with suppress(OSError):
                    worker.connection.send(None)
            return emit.end("interrupted" if stopped() else "done", ready[0].remarks)


class _Pass:
    """One pass over the problems."""

    def __init__(
        self,
        name: str,
        workers: list[Worker],
        share: int,
        emit: Recording,
        records: dict[str, RecordedProblem],
        journal: Path,
    ) -> None:
        self._name = name
        self._workers = workers
        self._share = share
        self._emit = emit
        self._records = records
        self._journal = journal

    def run(self, waiting: deque[Problem], stopped: Callable[[], bool]) -> None:
        """Until all problems are done, or the run is stopped."""
        while (waiting or any(worker.leases for worker in self._workers)) and not stopped():
            for worker in self._workers:
                while waiting and len(worker.leases) < self._share:
                    self._lease(worker, waiting.popleft())
            connections = {worker.connection: worker for worker in self._workers}
            for connection in wait(list(connections), GLANCE_S):
                worker = connections[connection]  # type: ignore[index]
                try:
                    self._take(worker, worker.connection.recv())
                    while worker.connection.poll():
                        self._take(worker, worker.connection.recv())
                except (EOFError, OSError):
                    self._take_over(worker, waiting)
            self._emit.commit()

    def _lease(self, worker: Worker, problem: Problem) -> None:
        record = self._records.pop(problem.id, None)
        if record is None:
            record = RecordedProblem()
            started = events.ProblemStarted(problem.id, problem.input)
            self._emit(started)  # here, so that they start in their order
            record.add(*row_of(started))
        self._emit(events.ProblemLeased(problem.id, worker.number))
        worker.leases[problem.id] = problem
        with suppress(OSError):  # of one that has died the end comes next
            worker.connection.send(Lease(self._name, problem.id, record))

    def _take(self, worker: Worker, told: object) -> None:
        if isinstance(told, UserError):
            raise told
        assert isinstance(told, events.Event)
        self._emit(told)
        if isinstance(told, events.ProblemDone):
            del worker.leases[told.problem]

    def _take_over(self, dead: Worker, waiting: deque[Problem]) -> None:
        """Give what a dead worker was at to the others, the first problem first."""
        self._workers.remove(dead)
        code = dead.process.wait()
        if not self._workers:
            raise UserError(
                f"all workers have died, the last one with exit code {code}: {self._journal.with_name(LOG)} may tell "
                "why; treereason resume goes on"
            )
        self._emit.commit()
        run = recorded_run(self._journal)
        assert run is not None
        self._records |= {name: run.passes[self._name].begun[name] for name in dead.leases}
        waiting.extendleft(reversed(dead.leases.values()))


@contextmanager
def _workers(config: Config, number: int, share: int, folder: Path) -> Iterator[list[Worker]]:
    """Processes that load the model. However the block ends, none is left."""
    started: list[Worker] = []
    threads = max(1, (free_cores() or number) // number) if config.engine.threads is None else config.engine.threads
    if config.model.name in SHIPPED and config.engine.threads is None:
        threads = 1
    try:
        with (folder / LOG).open("ab") as log:
            for i in range(number):
                mine, theirs = Pipe()
                with theirs:
                    process = subprocess.Popen(
                        [sys.executable, "-c", _BOOT, str(theirs.fileno()), *sys.path],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        pass_fds=(theirs.fileno(),),
                        start_new_session=True,
                        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
                    )
                worker = Worker(i, process, mine)
                started.append(worker)
                engine = config.engine.model_copy(update={"threads": threads})
                own = config.model_copy(update={"engine": engine, "model": _on_gpu(config, i)})
                mine.send(Hello(own, folder, share))
        yield list(started)
    finally:
        for worker in started:
            worker.connection.close()  # which ends one that waits or computes
            try:
                worker.process.wait(5.0)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(worker.process.pid, signal.SIGKILL)
                worker.process.wait()


def _on_gpu(config: Config, number: int) -> Any:
    """The model of a worker: one GPU after another."""
    model = config.model
    if isinstance(model, ModelConfig) and model.device in ("auto", "cuda") and torch.cuda.is_available():
        return model.model_copy(update={"device": f"cuda:{number % torch.cuda.device_count()}"})
    return model


def _ready(worker: Worker) -> Ready:
    try:
        told = worker.connection.recv()
    except (EOFError, OSError):
        code = worker.process.wait()
        raise UserError(f"worker {worker.number} ended with exit code {code} while it started: see {LOG}") from None
    if isinstance(told, UserError):
        raise told
    assert isinstance(told, Ready)
    return told
