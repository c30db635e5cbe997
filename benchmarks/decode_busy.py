"""Processes that compute without end, for measurements beside them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self


class Busy:
    """`count` processes, which stand still but inside `running`."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def pids(self) -> list[int]:
        """Of those that have not ended."""
        return [process.pid for process in self._processes]

    def __enter__(self) -> Self:
        for _ in range(self.count):
            self._processes.append(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
        self._signal(signal.SIGSTOP)
        return self

    def __exit__(self, *_: object) -> None:
        while self._processes:
            process = self._processes.pop()
            process.kill()
            process.wait()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let them compute."""
        self._signal(signal.SIGCONT)
        try:
            yield
        finally:
            self._signal(signal.SIGSTOP)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes:
            process.send_signal(number)
