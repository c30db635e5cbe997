"""Scores thoughts in another process, so that a scorer that raises, hangs or dies costs one thought and not the run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from treereason.core import Score, Thought
from treereason.scoring import codec
from treereason.scoring.mailbox import Mailbox
from treereason.text import describe

LONGEST_BATCH = 256
LOAD_TIMEOUT_S = 120.0
_GLANCE_S = 0.05
_BOOT = "import sys; sys.path[:] = sys.argv[2:]; from treereason.scoring.worker import main; main(int(sys.argv[1]))"


@dataclass(eq=False)
class _Entry:
    thought: Thought
    data: bytes
    outcome: Score | str | None = None


class Scoring:
    """A queue of thoughts to score: `submit` and `poll` from one thread, neither waits for a scorer by itself.

    ref: the scorer as `load` understands it; `load` is a function of a module, which the process imports and calls.
    timeout_s: time for one thought; then the process is killed, and a new one goes on with the next thought.
    options: a scorer that is a class is made with them. load_timeout_s: time for loading the scorer, which a class may
    spend in its `__init__`.
    log: file that takes what the scorer prints; None drops it. start: load at once; else with the first thought.

    Results come in the order of submission. A scorer that does not load fails every thought.
    """

    def __init__(
        self,
        ref: str,
        timeout_s: float,
        load: Callable[[str], Any],
        *,
        options: Mapping[str, Any] | None = None,
        load_timeout_s: float = LOAD_TIMEOUT_S,
        log: Path | None = None,
        start: bool = True,
    ) -> None:
        self._hello = (f"{load.__module__}:{load.__qualname__}", ref, dict(options or {}), timeout_s)
        self._timeout_s = timeout_s
        self._load_timeout_s = load_timeout_s
        self._log = log
        self._batches = False
        self._num_singly = 0
        self._entries: deque[_Entry] = deque()
        self._unsent: deque[_Entry] = deque()
        self._sent: deque[_Entry] = deque()
        self._num_submitted = 0
        self._broken: str | None = None
        self._loading = False
        self._since = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._mailbox: Mailbox | None = None
        if start:
            self._start()

    def __enter__(self) -> Scoring:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """Thoughts submitted and not handed out yet."""
        return len(self._entries)

    def submit(self, thought: Thought) -> int:
        """Queue a thought as it is now; returns its number. What cannot be sent fails, in its turn."""
        entry = _Entry(thought, b"")
        self._entries.append(entry)
        try:
            entry.data = codec.dump(thought)
        except Exception as error:
            entry.outcome = f"thought cannot be sent to the scorer: {describe(error)}"
        else:
            self._unsent.append(entry)
        if not self._sent and not self._loading:
            self._work(0.0)
        self._num_submitted += 1
        return self._num_submitted - 1

    def poll(self, wait_s: float) -> list[tuple[Thought, Score | str]]:
        """Results that are ready, each a score or an error; waits up to `wait_s` for the first one."""
        until = time.monotonic() + wait_s
        self._work(0.0)
        while self._entries and self._entries[0].outcome is None and (left := until - time.monotonic()) > 0:
            self._work(left)
        ready: list[tuple[Thought, Score | str]] = []
        while self._entries and self._entries[0].outcome is not None:
            entry = self._entries.popleft()
            assert entry.outcome is not None
            ready.append((entry.thought, entry.outcome))
        return ready

    def stop(self, problem: str, error: str) -> list[tuple[Thought, Score | str]]:
        """Take back a problem's thoughts: those not scored yet with `error`. A process at work on one is killed."""
        mine = [entry for entry in self._entries if entry.thought.problem.id == problem]
        if not mine:
            return []
        self._entries = deque(entry for entry in self._entries if entry not in mine)
        if any(entry in mine for entry in self._sent):
            self._stop()
            self._unsent.extendleft(reversed(self._sent))
            self._sent.clear()
        self._unsent = deque(entry for entry in self._unsent if entry not in mine)
        return [(entry.thought, error if entry.outcome is None else entry.outcome) for entry in mine]

    def close(self) -> None:
        """End the process, whatever it does, and drop what is queued."""
        self._entries.clear()
        self._unsent.clear()
        self._sent.clear()
        self._stop()

    def _work(self, wait_s: float) -> None:
        """Take what the process has answered, waiting up to `wait_s` for something, then see that it has work."""
        if self._process is not None:
            self._receive(min(wait_s, _GLANCE_S))
        if self._process is not None and (self._loading or self._sent):
            self._watch(self._process)
        if self._process is None and self._unsent and self._broken is None:
            self._start()
        if self._broken is not None:
            for entry in self._unsent:
                entry.outcome = self._broken
            self._unsent.clear()
        elif self._unsent and not self._sent and not self._loading:
            self._send()

    def _start(self) -> None:
        mine, theirs = Pipe()
        with theirs, ExitStack() as opened:
            output: int | IO[bytes] = subprocess.DEVNULL
            if self._log is not None:
                output = opened.enter_context(self._log.open("ab"))
            command = [sys.executable, "-c", _BOOT, str(theirs.fileno()), *sys.path]
            # In a session of its own Ctrl-C does not reach it, and what it starts can be killed with it.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self._connection, self._mailbox = mine, Mailbox(mine)
        self._loading, self._since = True, time.monotonic()
        self._tell(self._hello)

    def _send(self) -> None:
        # After a batch that ended the process each of its thoughts goes alone, so that only the guilty one fails.
        longest = 1 if self._batches and self._num_singly else LONGEST_BATCH
        self._num_singly = max(0, self._num_singly - 1)
        batch = [self._unsent.popleft() for _ in range(min(len(self._unsent), longest))]
        self._sent.extend(batch)
        self._since = time.monotonic()
        self._tell([entry.data for entry in batch])

    def _tell(self, message: object) -> None:
        # The process reads whenever it owes no answer, so this never waits; when it is dead, _receive finds out.
        assert self._connection is not None
        with contextlib.suppress(OSError):
            self._connection.send(message)

    def _receive(self, wait_s: float) -> None:
        assert self._connection is not None
        try:
            while self._connection is not None and self._connection.poll(wait_s):
                wait_s = 0.0
                assert self._mailbox is not None
                for answer in self._mailbox.take():
                    self._since = time.monotonic()
                    self._enter(answer)
        except (EOFError, OSError):
            self._fail(_obituary(self._stop()))
        except (ValueError, TypeError, IndexError):
            self._stop()
            self._fail("scorer wrote into the connection over which it is asked")

    def _enter(self, answer: Any) -> None:
        """Enter one answer. Raises ValueError, TypeError or IndexError for what the process itself would never send."""
        if not self._loading:
            outcome = answer if isinstance(answer, str) else Score(*answer)
            self._sent[0].outcome = outcome
            self._sent.popleft()
            return
        kind, error = answer
        if error is None:
            self._loading, self._batches = False, kind == "batch"
        else:
            self._stop()
            self._fail(error)

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        limit_s, option = self._timeout_s * (len(self._sent) if self._batches else 1), "scorer_timeout_s"
        if self._loading:
            limit_s, option = self._load_timeout_s, "scorer_load_timeout_s"
        if process.poll() is not None:
            # What it answered before its end may still lie in the socket, which a child of its own may keep open.
            self._receive(0.0)
            if self._process is not None:
                self._fail(_obituary(self._stop()))
        elif time.monotonic() - self._since > limit_s:
            self._stop()
            self._fail(f"scorer took longer than {limit_s:g} s ({option})")

    def _fail(self, error: str) -> None:
        """Fail the thought at work when the process has ended; the others wait for the next process."""
        if self._loading:
            self._loading = False
            self._broken = f"scorer does not load: {error}"
        elif self._sent:
            if self._batches and len(self._sent) > 1:
                self._num_singly = len(self._sent)
            else:
                self._sent.popleft().outcome = error
            self._unsent.extendleft(reversed(self._sent))
            self._sent.clear()

    def _stop(self) -> int:
        """Kill the process and all that it started; returns the code with which it ended."""
        if self._process is None or self._connection is None:
            return 0
        self._connection.close()
        if self._mailbox is not None:
            self._mailbox.close()
        # On a process that has ended by itself this keeps its own code.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        code = self._process.wait()
        self._process = self._connection = self._mailbox = None
        return code


def _obituary(code: int) -> str:
    if code >= 0:
        return f"scorer ended its process with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"scorer's process was killed by {signal.Signals(-code).name}"
    return f"scorer's process was killed by signal {-code}"
