"""The process in which a scorer runs: it may raise, hang or die there without harm to the run.

It speaks with process.py over one socket. First it is told which scorer to load, and says of which kind it is or why it
does not load; then it gets lists of thoughts and answers each thought with (value, final) or the text of an error. A
batch scorer is called with a whole list, or with pieces of its `batch_size` where it has one.
"""

import contextlib
import importlib
import os
import pickle
import queue
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from treereason.core import Score
from treereason.scoring import codec
from treereason.scoring.verdict import kind_of, read_batch, read_verdict
from treereason.text import describe, raised_in

# A scorer that spins on after the run's own end is ended by the kernel after this much CPU time beyond the limit.
GRACE_S = 5.0

Verdict = tuple[float, bool] | str
"""(value, final), or the text of an error: plain values, which survive whatever a scorer returned."""


def judge(scorer: Callable[[Any], Any], data: bytes) -> Verdict:
    """The scorer's verdict on a thought in codec's form; never raises."""
    try:
        return _plain(read_verdict(scorer(codec.load(data))))
    except BaseException as error:
        return describe(error) + raised_in(error, scorer)


def judge_batch(scorer: Callable[[Any], Any], batch: list[bytes]) -> list[Verdict]:
    """The verdicts of a batch scorer; where the batch raises, each thought is tried alone. Never raises."""
    try:
        return [_plain(verdict) for verdict in read_batch(scorer([codec.load(data) for data in batch]), len(batch))]
    except BaseException as error:
        if len(batch) == 1:
            return [describe(error) + raised_in(error, scorer)]
    return [verdict for data in batch for verdict in judge_batch(scorer, [data])]


def _plain(verdict: Score | str) -> Verdict:
    return verdict if isinstance(verdict, str) else (verdict.value, verdict.final)


def resolve(dotted: str) -> Any:
    """The object that `package.module:name` refers to."""
    module, _, name = dotted.partition(":")
    return getattr(importlib.import_module(module), name)


def main(descriptor: int) -> None:
    """Serve until the other side closes the socket `descriptor`."""
    connection = Connection(descriptor)
    os.set_inheritable(descriptor, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    # Scorers keep the main thread, because some refuse to run in another one.
    threading.Thread(target=_receive, args=(connection, inbox), daemon=True).start()
    loader, reference, options, timeout_s = inbox.get()
    # CPU time runs faster than the clock in a scorer with threads.
    longest_s = (timeout_s + GRACE_S) * (os.cpu_count() or 1)
    try:
        scorer = resolve(loader)(reference)
        if isinstance(scorer, type):
            scorer = scorer(**options)
        if not callable(scorer):
            raise TypeError(f"{reference} cannot be called")
        kind = kind_of(scorer)
    except BaseException as error:
        connection.send(("", describe(error)))
        return
    connection.send((kind, None))
    while True:
        batch = inbox.get()
        together = min(len(batch), getattr(scorer, "batch_size", len(batch))) if kind == "batch" else 1
        for first in range(0, len(batch), together):
            signal.setitimer(signal.ITIMER_VIRTUAL, longest_s * together)
            some = batch[first : first + together]
            verdicts = judge_batch(scorer, some) if kind == "batch" else [judge(scorer, some[0])]
            for verdict in verdicts:
                connection.send_bytes(pickle.dumps(verdict))


def _receive(connection: Connection, inbox: queue.SimpleQueue[Any]) -> None:
    with contextlib.suppress(EOFError, OSError):
        while True:
            inbox.put(connection.recv())
    # The run has ended; a scorer that sleeps would keep this process alive.
    os._exit(0)
