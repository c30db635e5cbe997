"""Workers that are actors of a Ray cluster, on one machine or several. Ray is an extra.

The cluster is the one that RAY_ADDRESS names, else one that runs on this machine, else one that is started for the run.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from treereason.config.models import ModelConfig
from treereason.config.schema import Config
from treereason.controller.crew import Crew, Worker, WorkerDied
from treereason.controller.worker import Hello, Lease, work
from treereason.core import UserError
from treereason.text import describe

INBOX = "inbox"
"""Calls of this group run one after another, in their order, beside the one that works."""


class Body:
    """What Ray runs: a worker in a thread, at the other end of a pipe."""

    def __init__(self) -> None:
        self._mine, self._theirs = Pipe()

    def tell(self, message: Lease | None) -> None:
        self._mine.send(message)

    def work(self, hello: Hello, folder: Path) -> Iterator[object]:
        """What the worker tells. folder: the one that its relative paths are meant from."""
        with suppress(OSError):  # a machine without it
            os.chdir(folder)
        if hello.folder is not None and not hello.folder.is_dir():
            hello = replace(hello, folder=None)
        with ThreadPoolExecutor(1) as threads:
            worker = threads.submit(work, self._theirs, hello)
            with suppress(EOFError):
                while True:
                    yield self._mine.recv()
            worker.result()


@dataclass(eq=False)
class Actor(Worker):
    """One actor, and the stream of what it tells."""

    handle: Any
    told: Any

    def send(self, message: Lease | None) -> None:
        with suppress(RayError):
            self.handle.tell.options(concurrency_group=INBOX).remote(message)

    def recv(self) -> object:
        try:
            return ray.get(next(self.told))
        except StopIteration:
            raise WorkerDied("nothing more to tell") from None
        except RayError as error:  # also of one that Ray has lost sight of: it must not go on
            ray.kill(self.handle)
            raise WorkerDied(describe(error)) from None


@contextmanager
def actors(config: Config, number: int, share: int, folder: Path) -> Iterator[Crew]:
    """A `Launcher`. Raises UserError where the cluster is too small."""
    started: list[Actor] = []
    with _cluster():
        threads = config.engine.threads or 1
        has = ray.cluster_resources()
        needs = {"CPU": threads}
        if isinstance(config.model, ModelConfig) and config.model.device in ("auto", "cuda") and "GPU" in has:
            needs["GPU"] = 1
        for name, each in needs.items():
            if has.get(name, 0) < each * number:
                raise UserError(
                    f"workers={number}: each needs {each} {name}, and Ray's cluster has {has.get(name, 0):g} of them; "
                    "give fewer workers or more machines"
                )
        body = ray.remote(
            num_cpus=threads,
            num_gpus=needs.get("GPU", 0),
            scheduling_strategy="SPREAD",
            concurrency_groups={INBOX: 1},
        )(Body)
        own = config.model_copy(update={"engine": config.engine.model_copy(update={"threads": threads})})
        try:
            for i in range(number):
                handle = body.remote()
                told = handle.work.options(num_returns="streaming").remote(Hello(own, folder, share), Path.cwd())
                started.append(Actor(i, handle, told))
            yield Crew(list(started), _told)
        finally:
            for actor in started:
                ray.kill(actor.handle)


def _told(workers: list[Worker], timeout_s: float) -> list[Worker]:
    streams = {worker.told: worker for worker in workers if isinstance(worker, Actor)}
    ready, _ = ray.wait(list(streams), timeout=timeout_s)
    return [streams[stream] for stream in ready]


@contextmanager
def _cluster() -> Iterator[None]:
    """Ray, connected; what is connected already stays so."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else a cluster that is started here calls home
    ours = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(log_to_driver=False, logging_level="error")
    except (RayError, ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"launcher=ray: {describe(error)}") from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, ours)  # Ray's own would end the run in the middle
    try:
        yield
    finally:
        ray.shutdown()
