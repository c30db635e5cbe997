"""Workers that are processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

import torch

from treereason.config.models import ModelConfig
from treereason.config.schema import Config
from treereason.controller.crew import Crew, Worker, WorkerDied
from treereason.controller.free_cores import free_cores
from treereason.controller.worker import Hello, Lease
from treereason.engine.model.shipped import SHIPPED

LOG = "workers.log"
_BOOT = "import sys; sys.path[:] = sys.argv[2:]; from treereason.controller.worker import main; main(int(sys.argv[1]))"


@dataclass(eq=False)
class Process(Worker):
    """One process, at the other end of a pipe."""

    process: subprocess.Popen[bytes]
    connection: Connection
    log: Path

    def send(self, message: Lease | None) -> None:
        with suppress(OSError):
            self.connection.send(message)

    def recv(self) -> object:
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            raise WorkerDied(f"exit code {self.process.wait()}: {self.log} may tell why") from None


@contextmanager
def processes(config: Config, number: int, share: int, folder: Path) -> Iterator[Crew]:
    """A `Launcher`."""
    started: list[Process] = []
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
                started.append(Process(i, process, mine, folder / LOG))
                engine = config.engine.model_copy(update={"threads": threads})
                own = config.model_copy(update={"engine": engine, "model": _on_gpu(config, i)})
                mine.send(Hello(own, folder, share))
        yield Crew(list(started), _told)
    finally:
        for worker in started:
            worker.connection.close()  # which ends one that waits or computes
            try:
                worker.process.wait(5.0)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(worker.process.pid, signal.SIGKILL)
                worker.process.wait()


def _told(workers: list[Worker], timeout_s: float) -> list[Worker]:
    connections = {worker.connection: worker for worker in workers if isinstance(worker, Process)}
    return [connections[connection] for connection in wait(list(connections), timeout_s)]  # type: ignore[index]


def _on_gpu(config: Config, number: int) -> Any:
    """The model of a worker: one GPU after another."""
    model = config.model
    if isinstance(model, ModelConfig) and model.device in ("auto", "cuda") and torch.cuda.is_available():
        return model.model_copy(update={"device": f"cuda:{number % torch.cuda.device_count()}"})
    return model
