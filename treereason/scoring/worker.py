"""The process in which a scorer runs: it may raise, hang or die there without harm to the run.

It speaks with scoring.py over one socket. First it is told which scorer to load and says whether it did; then it
gets lists of thoughts and answers each thought with (value, final) or with the text of an error.
"""

import contextlib
import importlib
import math
import os
import pickle
import queue
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from numbers import Real
from typing import Any

from treereason.core import Score
from treereason.scoring import codec
from treereason.text import LONGEST_LINE, describe, shown

# A scorer that spins on after the run's own end is ended by the kernel after this much CPU time beyond the limit.
GRACE_S = 5.0

Verdict = tuple[float, bool] | str


def read_verdict(returned: Any) -> Verdict:
    """What a scorer returned, as (value, final), or the error that it is no score."""
    score = returned if isinstance(returned, Score) else Score(returned)
    try:
        value = float(score.value) if isinstance(score.value, Real) else math.nan
    except OverflowError:
        value = math.inf
    if math.isfinite(value):
        return value, bool(score.final)
    return f"scorer returned {shown(returned, LONGEST_LINE)}, not a finite number"


def judge(scorer: Callable[[Any], Any], data: bytes) -> Verdict:
    """The scorer's verdict on a thought in codec's form; never raises."""
    try:
        return read_verdict(scorer(codec.load(data)))
    except BaseException as error:
        return describe(error)


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
    loader, reference, timeout_s = inbox.get()
    # CPU time runs faster than the clock in a scorer with threads.
    longest_s = (timeout_s + GRACE_S) * (os.cpu_count() or 1)
    try:
        scorer = resolve(loader)(reference)
        if not callable(scorer):
            raise TypeError(f"{reference} cannot be called")
    except BaseException as error:
        connection.send(describe(error))
        return
    connection.send(None)
    while True:
        for data in inbox.get():
            signal.setitimer(signal.ITIMER_VIRTUAL, longest_s)
            connection.send_bytes(pickle.dumps(judge(scorer, data)))


def _receive(connection: Connection, inbox: queue.SimpleQueue[Any]) -> None:
    with contextlib.suppress(EOFError, OSError):
        while True:
            inbox.put(connection.recv())
    # Nobody is left to answer to; a scorer that sleeps would keep this process for ever.
    os._exit(0)
