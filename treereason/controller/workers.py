"""Several workers that share the problems of a run; this process leases them out and keeps the record.

What a worker has told is committed here. When one dies, its problems go to the others with what is recorded of them,
and go on inside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from treereason import events
from treereason.config.models import ModelConfig
from treereason.config.schema import Config
from treereason.controller.crew import Crew, Launcher, Worker, WorkerDied
from treereason.controller.differences import differences
from treereason.controller.fingerprint import DATA, digest_of_problems
from treereason.controller.parts import passes
from treereason.controller.processes import processes
from treereason.controller.recording import Recording, changes
from treereason.controller.run_spec import RunSpec
from treereason.controller.worker import Lease, Ready
from treereason.core import Problem, UserError
from treereason.display.base import Display
from treereason.record.begun_problem import BegunProblem
from treereason.record.begun_run import BegunRun, begun_run
from treereason.record.journal import NAME as JOURNAL
from treereason.record.row import row_of

GLANCE_S = 0.2


def run_with_workers(
    spec: RunSpec,
    folder: Path,
    screen: Display | None = None,
    stopped: Callable[[], bool] = lambda: False,
    before: BegunRun | None = None,
    *,
    force: bool = False,
) -> dict[str, Any]:
    """As `run_experiment`, with `spec.config.workers` workers; the journal, results and summary are the same.

    Raises UserError as that does, and when all workers have died.
    """
    folder.mkdir(parents=True, exist_ok=True)
    screen = screen or Display()
    num_workers = min(spec.config.workers, max(1, len(spec.problems)))
    share = -(-min(spec.config.engine.parallel_problems, len(spec.problems)) // num_workers)
    with _launcher(spec.config)(spec.config, num_workers, share, folder) as crew:
        ready = [_ready(worker) for worker in crew.workers]
        _refuse_strangers(ready, spec)
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
                _Pass(pass_name, crew, share, emit, begun.begun, folder / JOURNAL).run(waiting, stopped)
            for worker in crew.workers:
                worker.send(None)
            return emit.end("interrupted" if stopped() else "done", ready[0].remarks)


class _Pass:
    """One pass over the problems."""

    def __init__(
        self,
        name: str,
        crew: Crew,
        share: int,
        emit: Recording,
        records: dict[str, BegunProblem],
        journal: Path,
    ) -> None:
        self._name = name
        self._crew = crew
        self._workers = crew.workers
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
            for worker in self._crew.wait(self._workers, GLANCE_S):
                try:
                    told = worker.recv()
                except WorkerDied as death:
                    self._take_over(worker, waiting, death)
                else:
                    self._take(worker, told)
            self._emit.commit()

    def _lease(self, worker: Worker, problem: Problem) -> None:
        record = self._records.pop(problem.id, None)
        if record is None:
            record = BegunProblem()
            started = events.ProblemStarted(problem.id, problem.input)
            self._emit(started)  # here, so that they start in their order
            record.add(*row_of(started))
        self._emit(events.ProblemLeased(problem.id, worker.number))
        worker.leases[problem.id] = problem
        worker.send(Lease(self._name, problem.id, record))

    def _take(self, worker: Worker, told: object) -> None:
        if isinstance(told, UserError):
            raise told
        assert isinstance(told, events.Event)
        self._emit(told)
        if isinstance(told, events.ProblemDone):
            del worker.leases[told.problem]

    def _take_over(self, dead: Worker, waiting: deque[Problem], death: WorkerDied) -> None:
        """Give what a dead worker was at to the others, the first problem first."""
        self._workers.remove(dead)
        if not self._workers:
            raise UserError(f"all workers have died, the last one with {death}; treereason resume goes on")
        self._emit.commit()
        run = begun_run(self._journal)
        assert run is not None
        self._records |= {name: run.passes[self._name].begun[name] for name in dead.leases}
        waiting.extendleft(reversed(dead.leases.values()))


def _launcher(config: Config) -> Launcher:
    if config.launcher == "processes":
        return processes
    try:
        from treereason.controller.ray_actors import actors
    except ImportError:
        raise UserError("launcher=ray needs Ray: pip install 'treereason[ray]', on every machine") from None
    return actors


def _ready(worker: Worker) -> Ready:
    try:
        told = worker.recv()
    except WorkerDied as death:
        raise UserError(f"worker {worker.number} ended while it started, with {death}") from None
    if isinstance(told, UserError):
        raise told
    assert isinstance(told, Ready)
    return told


def _refuse_strangers(ready: list[Ready], spec: RunSpec) -> None:
    """Raise UserError unless all workers see the same run: on another machine lie other files."""
    mark = ready[0].mark | {DATA: digest_of_problems(spec.problems)}
    for number, each in enumerate(ready):
        if found := differences(mark, each.mark):
            raise UserError(f"worker {number} is not as the others: {'; '.join(found)}")
