"""Scorers in another process: what they return, and what happens when they raise, hang or die."""

import importlib.util
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fakes import HANG_S
from treereason.core import Cost, Problem, Score, Status, Thought
from treereason.scoring import codec, process
from treereason.scoring.mailbox import Mailbox
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


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    (tmp_path / "scorers_for_test.py").write_text(SCORERS)
    (tmp_path / "loader_for_test.py").write_text(LOADER)
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = importlib.util.spec_from_file_location("loader_for_test", tmp_path / "loader_for_test.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load  # type: ignore[no-any-return]


@pytest.fixture
def scoring(load: Callable[[str], Any]) -> Iterator[Scoring]:
    with Scoring("by_text", 1.0, load) as made:
        yield made


def thought_with(text: str) -> Thought:
    return Thought(Problem("0", []), (0,), text=text)


def collect(scoring: Scoring, limit_s: float = HANG_S) -> list[Score | str]:
    results: list[Score | str] = []
    until = time.monotonic() + limit_s
    while len(scoring) and time.monotonic() < until:
        results += [result for _, result in scoring.poll(0.5)]
    assert len(scoring) == 0, "not all thoughts came back"
    return results


def judge(scoring: Scoring, *texts: str) -> list[Score | str]:
    for text in texts:
        scoring.submit(thought_with(text))
    return collect(scoring)


def test_results_come_in_order_with_their_own_thoughts(scoring: Scoring) -> None:
    thoughts = [thought_with(str(i)) for i in range(1000)]
    assert [scoring.submit(thought) for thought in thoughts] == list(range(1000))
    results: list[tuple[Thought, Score | str]] = []
    while len(scoring):
        results += scoring.poll(1.0)
    assert all(a is b for a, (b, _) in zip(thoughts, results, strict=True))
    assert [score for _, score in results] == [Score(float(i)) for i in range(1000)]


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("1.5", Score(1.5)),
        ("int", Score(3.0)),
        ("bool", Score(1.0)),
        ("score", Score(2.0, final=True)),
        ("thread", Score(1.0)),
        ("read", Score(0.0)),
        ("torch", Score(0.0)),
        ("none", "scorer returned None, not a finite number"),
        ("nan", "scorer returned nan, not a finite number"),
        ("infinite", "scorer returned inf, not a finite number"),
        ("text", "scorer returned 'good', not a finite number"),
        ("list", "scorer returned [1], not a finite number"),
        ("complex", "scorer returned 1j, not a finite number"),
        ("bad score", "scorer returned Score(value=None, final=False), not a finite number"),
        ("unprintable", "scorer returned U, not a finite number"),
        ("raise", "ValueError: two lines"),
        ("mute", "RuntimeError"),
        ("nasty", "Nasty"),
        ("exit", "SystemExit: 3"),
        ("interrupt", "KeyboardInterrupt"),
        ("die", "scorer ended its process with exit code 7"),
        ("crash", "scorer's process was killed by SIGSEGV"),
        ("orphans", "scorer ended its process with exit code 7"),
        ("hang", "scorer took longer than 1 s (scorer_timeout_s)"),
        ("spin", "scorer took longer than 1 s (scorer_timeout_s)"),
        ("regex", "scorer took longer than 1 s (scorer_timeout_s)"),
        ("stubborn", "scorer took longer than 1 s (scorer_timeout_s)"),
        ("junk", "scorer wrote into the connection over which it is asked"),
        ("promise", "scorer took longer than 1 s (scorer_timeout_s)"),
    ],
)
def test_one_bad_thought_costs_one_error(scoring: Scoring, text: str, result: Score | str) -> None:
    assert judge(scoring, "1", "2", text, "3", "4") == [Score(1.0), Score(2.0), result, Score(3.0), Score(4.0)]


def test_long_errors_are_cut(scoring: Scoring) -> None:
    huge, deep = judge(scoring, "huge", "recurse")
    assert isinstance(huge, str)
    assert huge.startswith("scorer returned 1000")
    assert len(huge) < 400
    assert isinstance(deep, str)
    assert deep.startswith("RecursionError: ")


def test_a_problem_that_is_stopped_gets_its_thoughts_back_at_once_and_the_others_are_scored(
    load: Callable[[str], Any],
) -> None:
    with Scoring("by_text", 600.0, load) as scoring:
        assert judge(scoring, "1") == [Score(1.0)]  # it has loaded
        mine = [Thought(Problem("mine", []), (i,), text=text) for i, text in enumerate(("hang", "hang", "3"))]
        for thought in (*mine, thought_with("4"), thought_with("5")):
            scoring.submit(thought)
        assert scoring.stop("mine", "stopped") == [(thought, "stopped") for thought in mine]
        assert collect(scoring) == [Score(4.0), Score(5.0)]
        assert scoring.stop("mine", "stopped") == []


def test_several_bad_thoughts_in_one_batch(scoring: Scoring) -> None:
    results = judge(scoring, "1", "die", "hang", "raise", "die", "2")
    assert results[0] == Score(1.0)
    assert results[5] == Score(2.0)
    assert [isinstance(result, str) for result in results[1:5]] == [True] * 4


def test_a_thought_that_does_not_pickle_fails_in_its_turn(scoring: Scoring) -> None:
    odd = thought_with("2")
    odd.answer = lambda: None
    scoring.submit(thought_with("1"))
    scoring.submit(odd)
    scoring.submit(thought_with("3"))
    first, second, third = collect(scoring)
    assert (first, third) == (Score(1.0), Score(3.0))
    assert isinstance(second, str)
    assert second.startswith("thought cannot be sent to the scorer: ")


def test_an_answer_that_the_scorers_process_cannot_rebuild(scoring: Scoring) -> None:
    odd = thought_with("2")
    odd.answer = Rebuilt()
    scoring.submit(odd)
    scoring.submit(thought_with("3"))
    first, second = collect(scoring)
    assert isinstance(first, str)
    assert first.startswith("ValueError: invalid literal")
    assert second == Score(3.0)


class Rebuilt:
    def __reduce__(self) -> tuple[type[int], tuple[str]]:
        return int, ("x",)


@pytest.mark.parametrize(
    ("ref", "error"),
    [
        ("missing", "scorer does not load: LookupError: no such scorer"),
        ("deadly", "scorer does not load: scorer ended its process with exit code 5"),
        ("number", "scorer does not load: TypeError: number cannot be called"),
    ],
)
def test_a_scorer_that_does_not_load_fails_every_thought(load: Callable[[str], Any], ref: str, error: str) -> None:
    with Scoring(ref, 1.0, load) as scoring:
        assert judge(scoring, "1", "2", "3") == [error] * 3
        assert judge(scoring, "4") == [error]


def test_a_scorer_that_hangs_while_it_loads(load: Callable[[str], Any]) -> None:
    with Scoring("slow", 1.0, load, load_timeout_s=0.5) as scoring:
        error = "scorer does not load: scorer took longer than 0.5 s (scorer_load_timeout_s)"
        assert judge(scoring, "1", "2") == [error] * 2


def test_a_class_is_made_once_and_its_loading_counts_against_no_thought(load: Callable[[str], Any]) -> None:
    with Scoring("Heavy", 0.5, load) as scoring:
        assert judge(scoring, *"abc") == [Score(1.0), Score(2.0), Score(3.0)]


def test_what_a_scorer_answered_before_it_wrote_junk_counts() -> None:
    mine, theirs = Pipe()
    with mine, theirs:
        mailbox = Mailbox(mine)
        theirs.send((1.0, False))
        os.write(theirs.fileno(), b"junk")
        answers = mailbox.take()
        assert next(answers) == (1.0, False)
        with pytest.raises(ValueError, match="a message of "):
            next(answers)
        mailbox.close()


def test_a_batch_scorer_with_a_batch_size_gets_no_longer_lists(load: Callable[[str], Any]) -> None:
    with Scoring("InPieces", 5.0, load) as scoring:
        assert judge(scoring, *"abcdefg") == [*[Score(3.0)] * 6, Score(1.0)]


def test_a_batch_scorer_gets_lists_and_one_bad_thought_costs_one_error(load: Callable[[str], Any]) -> None:
    with Scoring("in_batches", 5.0, load) as scoring:
        assert judge(scoring, "4", "4", "4") == [Score(3.0)] * 3
        assert judge(scoring, "4", "raise", "4")[1] == "ValueError: bad batch"
        assert judge(scoring, "4", "die", "4")[1] == "scorer ended its process with exit code 7"


def test_what_a_scorer_prints_goes_to_the_log(load: Callable[[str], Any], tmp_path: Path) -> None:
    with Scoring("by_text", 1.0, load, log=tmp_path / "scorer.log") as scoring:
        assert judge(scoring, "1") == [Score(1.0)]
    assert (tmp_path / "scorer.log").read_text() == "a scorer may print 1\n"


class SilentConnection:
    """No server answers, and waiting takes no time but that of a clock of its own."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.waits: list[float] = []

    def poll(self, wait_s: float) -> bool:
        self.waits.append(wait_s)
        self.now_s += wait_s
        return False

    def send(self, message: object) -> None:
        pass

    def close(self) -> None:
        pass


def test_polling_never_waits_longer_than_asked(load: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with Scoring("by_text", 1.0, load) as scoring:
        assert scoring.poll(600.0) == []
        judge(scoring, "1")
        silent = SilentConnection()
        monkeypatch.setattr(process, "time", SimpleNamespace(monotonic=lambda: silent.now_s))
        monkeypatch.setattr(scoring, "_connection", silent)
        scoring.submit(thought_with("2"))
        assert scoring.poll(0.0) == []
        assert set(silent.waits) == {0.0}
        assert scoring.poll(0.7) == []
        assert sum(silent.waits) == pytest.approx(0.7)
        assert [result for _, result in scoring.poll(0.7)] == ["scorer took longer than 1 s (scorer_timeout_s)"]
        assert 1.0 < silent.now_s < 1.1


def test_a_pause_between_polls_is_not_held_against_the_scorer(scoring: Scoring) -> None:
    assert judge(scoring, "1") == [Score(1.0)]
    for i in range(600):
        scoring.submit(thought_with(str(i)))
    time.sleep(1.5)
    assert collect(scoring) == [Score(float(i)) for i in range(600)]


def test_each_thought_has_the_whole_time_for_itself(scoring: Scoring) -> None:
    assert judge(scoring, *["nap"] * 6) == [Score(1.0)] * 6


def test_a_scorer_sees_the_thought_with_its_ancestors_and_only_a_copy(load: Callable[[str], Any]) -> None:
    problem = Problem("0", [])
    thought = Thought(problem)
    for i in range(3000):
        thought = Thought(problem, (*thought.path[:5], i), (thought,), "ab")
    with Scoring("chain", 5.0, load) as scoring:
        scoring.submit(thought)
        assert collect(scoring) == [Score(600_000 + len(thought.path) + 1 / 8)]
    with Scoring("mutate", 5.0, load) as scoring:
        scoring.submit(thought)
        scoring.submit(thought)
        assert collect(scoring) == [Score(1.0), Score(1.0)]
    assert problem.input == []
    assert thought.answer is None


def test_a_thought_is_scored_as_it_was_when_submitted(scoring: Scoring) -> None:
    thought = thought_with("1")
    scoring.submit(thought)
    thought.text = "2"
    assert collect(scoring) == [Score(1.0)]


def test_thoughts_survive_the_way_there() -> None:
    problem = Problem("7", {"a": [1]}, "t")
    root = Thought(problem)
    left = Thought(problem, (0,), (root,), "l", [1], Score(1.0, True), Status.KEPT, None, -1.5, 2, Cost(1, 2, 3))
    right = Thought(problem, (1,), (root,), "r", error="bad", status=Status.FAILED)
    joined = codec.load(codec.dump(Thought(problem, (0, 0), (left, right), "j")))
    assert [parent.path for parent in joined.parents] == [(0,), (1,)]
    assert joined.parents[0].parents[0] is joined.parents[1].parents[0]
    copy = joined.parents[0]
    assert vars(copy) | {"parents": ()} == vars(left) | {"parents": ()}
    assert joined.parents[1].status is Status.FAILED
    assert joined.problem == problem


def test_closing_ends_the_process_whatever_it_does(load: Callable[[str], Any]) -> None:
    scoring = Scoring("by_text", 60.0, load)
    judge(scoring, "1")
    worker = scoring._process
    assert worker is not None
    scoring.submit(thought_with("stubborn"))
    scoring.close()
    scoring.close()
    assert worker.returncode in (0, -signal.SIGKILL), "it may see the closed socket before the signal comes"
    with pytest.raises(ProcessLookupError):
        _wait_for_group(worker.pid)
    assert scoring.poll(1.0) == []


def _wait_for_group(group: int) -> None:
    """Raises ProcessLookupError as soon as no process of the group is left."""
    deadline = time.monotonic() + HANG_S
    while time.monotonic() < deadline:
        os.killpg(group, 0)
        time.sleep(0.05)


def test_the_terminals_interrupt_does_not_reach_the_scorer(scoring: Scoring) -> None:
    assert judge(scoring, "1") == [Score(1.0)]
    assert scoring._process is not None
    assert os.getpgid(scoring._process.pid) != os.getpgid(0)
    os.kill(scoring._process.pid, signal.SIGINT)
    assert judge(scoring, "2") == [Score(2.0)]


@pytest.mark.usefixtures("load")
@pytest.mark.parametrize("text", ["hang", "1"])
def test_the_process_ends_when_the_run_is_killed(tmp_path: Path, text: str) -> None:
    script = f"""
        import loader_for_test, time
        from treereason.core import Problem, Thought
        from treereason.scoring.process import Scoring
        scoring = Scoring("by_text", 60.0, loader_for_test.load)
        for text in ("1", {text!r}):
            scoring.submit(Thought(Problem("0", []), (0,), text=text))
        scoring.poll(20.0)
        print(scoring._process.pid, flush=True)
        time.sleep(600)
    """
    (tmp_path / "run.py").write_text(textwrap.dedent(script))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "run.py")], stdout=subprocess.PIPE, env=environment, text=True
    ) as run:
        assert run.stdout is not None
        worker = int(run.stdout.readline())
        run.kill()
        with pytest.raises(ProcessLookupError):
            _wait_for_group(worker)


def test_scoring_uses_no_global_randomness(scoring: Scoring) -> None:
    state = random.getstate()
    judge(scoring, "1")
    assert random.getstate() == state


def test_thoughts_travel_in_large_batches(scoring: Scoring, monkeypatch: pytest.MonkeyPatch) -> None:
    judge(scoring, "1")
    sent: list[int] = []

    def tell(message: Any) -> None:
        sent.append(len(message))
        whole(message)

    whole = scoring._tell
    monkeypatch.setattr(scoring, "_tell", tell)
    assert judge(scoring, *["1"] * 3000) == [Score(1.0)] * 3000
    assert sum(sent) == 3000
    # The first thought sets off alone; what waits behind it goes in full batches.
    assert len(sent) <= 2 + 3000 // process.LONGEST_BATCH + 1
