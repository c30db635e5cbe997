"""Signals at any moment of a run on a terminal: it ends, the terminal is in order, and the folder can be read."""

from __future__ import annotations

import fcntl
import os
import pty
import random
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.controller.readable import check_readable
from tests.fakes import HANG_S, ROOT, slow, wait_until

SPINNING = """
from dataclasses import dataclass
from treereason.tasks.sorting import Sorting

@dataclass(frozen=True)
class Spin:
    "Never gives way."
    async def run(self, tree):
        await tree.expand([tree.root], 1)
        while True:
            pass

@dataclass(frozen=True)
class Hold:
    "Swallows what should end it."
    async def run(self, tree):
        await tree.expand([tree.root], 1)
        while True:
            try:
                while True:
                    pass
            except BaseException:
                pass

@dataclass(frozen=True)
class Ponder(Sorting):
    "Reads answers for ever."
    def parse(self, thought):
        while True:
            pass

async def doubt(thought, tree):
    while True:
        pass
"""
PLAIN = ["task.length=8", "task.limit=60", "engine.parallel_problems=4"]
KINDS = {
    "run": PLAIN,
    "sweep": ["-m", "seed=0,1,2", "task.length=6", "task.limit=10"],
    "spin": ["search=./spinning.py:Spin", "task.limit=8"],
    "ponder": ["task=./spinning.py:Ponder", "task.limit=8"],
    "doubt": ["scorer=./spinning.py:doubt", "task.limit=8"],
    "hold": ["search=./spinning.py:Hold", "task.limit=8"],
}
NUM_SIGNALS = {"hold": 3}
"""How many it takes to end a run of the kind; one ends the others."""


@dataclass(frozen=True)
class Case:
    """kind: in KINDS. display: of the run. number: of the signal. after_s: when it comes, after the start, or after the
    journal is there when `at_work`.
    """

    kind: str
    display: str
    number: signal.Signals
    after_s: float
    at_work: bool

    @classmethod
    def random(cls, seed: int) -> Case:
        chance = random.Random(seed)
        kind = chance.choice([*KINDS, "run", "run"])
        at_work = kind not in ("run", "sweep") or chance.random() < 0.7
        ending = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
        others = [signal.SIGQUIT, signal.SIGUSR1, signal.SIGPROF, signal.SIGIO] if kind in ("run", "sweep") else []
        number = chance.choice([*ending, *ending, *others])
        after_s = chance.uniform(0.2, 1.0) if at_work else chance.uniform(0.0, 6.0)
        return cls(kind, chance.choice(["rich", "plain", "json"]), number, after_s, at_work)


def play(case: Case, folder: Path) -> None:
    """Run the case in a terminal of its own, and check how it ends."""
    folder.mkdir()
    (folder / "spinning.py").write_text(SPINNING)
    out = "hydra.sweep.dir=out" if case.kind == "sweep" else "hydra.run.dir=out"
    options = [*KINDS[case.kind], out, f"display={case.display}", "engine.threads=1", "baseline=none"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "OMP_NUM_THREADS": "1"}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 30, 100, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "treereason", *options],
        cwd=folder,
        env=env,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        written = bytearray()
        reader = threading.Thread(target=drain, args=(ours, written))
        reader.start()
        try:
            if case.at_work:
                wait_until(lambda: bool(list(folder.glob("out/**/journal.sqlite"))) or process.poll() is not None)
            time.sleep(case.after_s)
            for _ in range(NUM_SIGNALS.get(case.kind, 1)):
                process.send_signal(case.number)
                time.sleep(0.2)
            process.wait(HANG_S)
        finally:
            process.kill()
            reader.join(HANG_S)
            os.close(ours)
    screen = written.decode(errors="replace")
    where = f"{case}: {process.returncode}\n{screen[-2_000:]}"
    ended = {128 + case.number} if case.number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) else {-case.number}
    # Before its first line Python itself dies of the signal; a run may be over when it comes.
    early = set() if case.at_work else {-case.number}
    over = {0} if case.kind in ("run", "sweep") else set()
    assert process.returncode in ended | early | over, where
    if not early or "treereason" in screen:
        assert "Traceback" not in screen, where
    assert screen.rfind("\x1b[?25h") >= screen.rfind("\x1b[?25l"), where
    for journal in folder.glob("out/**/journal.sqlite"):
        check_readable(journal.parent)


def drain(terminal: int, into: bytearray) -> None:
    """Read a terminal until its other end is closed."""
    while True:
        try:
            into += os.read(terminal, 65_536)
        except OSError:
            return


@pytest.mark.parametrize(
    "case",
    [
        Case("spin", "rich", signal.SIGINT, 0.1, True),
        *slow(
            Case("ponder", "plain", signal.SIGTERM, 0.3, True),
            Case("hold", "rich", signal.SIGINT, 0.3, True),
            Case("run", "rich", signal.SIGQUIT, 0.1, True),
        ),
    ],
    ids=lambda case: f"{case.kind}-{case.number.name}",
)
def test_a_signal_ends_a_run_whatever_it_is_doing(case: Case, tmp_path: Path) -> None:
    play(case, tmp_path / "case")


@pytest.mark.slow
def test_a_hundred_signals_at_any_moment_leave_terminal_and_folder_in_order(tmp_path: Path) -> None:
    first = int(os.environ.get("SIGNALS_SEED", "0"))
    with ThreadPoolExecutor(2) as pool:
        ends = [pool.submit(play, Case.random(first + i), tmp_path / str(i)) for i in range(100)]
    broken = [str(end.exception()) for end in ends if end.exception() is not None]
    assert not broken, f"{len(broken)} of {len(ends)}:\n" + "\n\n".join(broken)
