"""Scorers that do what a thought says, and how thoughts are handed to them."""

import time

from tests.fakes import HANG_S
from treereason.core import Problem, Score, Thought
from treereason.scoring.process import Scoring

SCORERS = '''
import os, re, signal, subprocess, sys, threading, time
from treereason.core import Score

def by_text(thought):
    """Does what the thought says."""
    print("a scorer may print", thought.text, flush=True)
    text = thought.text
    if text == "raise": raise ValueError("two\\nlines")
    if text == "mute": raise RuntimeError
    if text == "exit": sys.exit(3)
    if text == "interrupt": raise KeyboardInterrupt
    if text == "nasty": raise type("Nasty", (Exception,), {"__str__": lambda self: 1 / 0})()
    if text == "recurse": return by_text(thought)
    if text == "die": os._exit(7)
    if text == "crash": os.kill(os.getpid(), signal.SIGSEGV)
    if text == "nap": time.sleep(0.4); return 1
    if text == "hang": time.sleep(600)
    if text == "spin":
        while True: pass
    if text == "regex": re.match(r"(a|aa)+$", "a" * 100 + "b")
    if text == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen(["sleep", "600"])
        time.sleep(600)
    if text == "orphans":
        subprocess.Popen(["sleep", "600"], close_fds=False)
        if os.fork() == 0: time.sleep(600)
        os._exit(7)
    if text == "junk":
        for number in os.listdir("/proc/self/fd"):
            link = "/proc/self/fd/" + number
            if os.path.islink(link) and os.readlink(link).startswith("socket:"): os.write(int(number), b"junk")
    if text == "promise":
        for number in os.listdir("/proc/self/fd"):
            link = "/proc/self/fd/" + number
            if os.path.islink(link) and os.readlink(link).startswith("socket:"): os.write(int(number), b"\\0\\0\\1\\0")
        time.sleep(600)
    if text == "read": return len(sys.stdin.read())
    if text == "thread": return threading.current_thread() is threading.main_thread()
    if text == "torch": return "torch" in sys.modules
    returned = {"none": None, "nan": float("nan"), "infinite": float("inf"), "text": "good", "list": [1],
                "huge": 10 ** 400, "bool": True, "int": 3, "score": Score(2, final=True), "bad score": Score(None),
                "complex": 1j, "unprintable": type("U", (), {"__repr__": lambda self: 1 / 0})()}
    return returned[text] if text in returned else float(text)

class Heavy:
    """Loads for longer than a thought may take."""

    def __init__(self):
        time.sleep(0.8)
        self.count = 0

    def __call__(self, thought):
        self.count += 1
        return self.count

def in_batches(thoughts):
    if any(thought.text == "raise" for thought in thoughts): raise ValueError("bad batch")
    if any(thought.text == "die" for thought in thoughts): os._exit(7)
    return [len(thoughts)] * len(thoughts)

class InPieces:
    batch_size = 3
    def __call__(self, thoughts):
        return in_batches(thoughts)

def chain(thought):
    texts = []
    above = thought
    while above is not None:
        texts.append(above.text)
        above = above.parent
    return 100 * sum(map(len, texts)) + thought.depth + len(thought.parents) / 8

def mutate(thought):
    thought.problem.input.append(1)
    thought.answer = "changed"
    return len(thought.problem.input)
'''

LOADER = """
import os, time, treereason.core

def load(ref):
    if ref == "missing": raise LookupError("no such scorer")
    if ref == "deadly": os._exit(5)
    if ref == "number": return 3
    if ref == "slow": time.sleep(600)
    import scorers_for_test
    return getattr(scorers_for_test, ref)
"""


def thought_with(text: str) -> Thought:
    return Thought(Problem("0", []), (0,), text=text)


def collect(scoring: Scoring, limit_s: float = HANG_S) -> list[Score | str]:
    results: list[Score | str] = []
    until = time.monotonic() + limit_s
    while len(scoring) and time.monotonic() < until:
        results += [result for _, result in scoring.poll(0.5)]
    assert len(scoring) == 0, "not all thoughts came back"
    return results


def place(raising: str) -> str:
    """The file and line of SCORERS that raises, as errors name them."""
    line = 1 + next(at for at, line in enumerate(SCORERS.split("\n")) if raising in line)
    return f" (scorers_for_test.py, line {line})"


def judge(scoring: Scoring, *texts: str) -> list[Score | str]:
    for text in texts:
        scoring.submit(thought_with(text))
    return collect(scoring)
