"""The process that scores ends with its run, whatever it does."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import HANG_S
from tests.scoring.driving import judge, thought_with
from treereason.core import Score
from treereason.scoring.process import Scoring


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
