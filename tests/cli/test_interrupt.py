"""Ctrl-C outside of a run, and the handler that a run gets; tests/controller holds what it does to whole runs."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import ROOT
from treereason.cli.interrupt import FATAL, first_ends_run


def test_the_first_ctrl_c_is_noted_and_announced_and_the_second_raises() -> None:
    said: list[str] = []
    before = signal.getsignal(signal.SIGINT)
    with first_ends_run(lambda: said.append("stopping")) as stopped:
        assert not stopped()
        os.kill(os.getpid(), signal.SIGINT)
        assert stopped()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert said == ["stopping"]
    assert signal.getsignal(signal.SIGINT) is before


EARLY = """
import os, signal, sys
moment = sys.argv.pop()

class Interrupt:
    def find_spec(self, name, *_):
        if name == moment:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
from treereason.__main__ import console
console()
"""


@pytest.mark.parametrize(
    "module",
    ["treereason.cli.main", "hydra", "pydantic", "treereason.config.schema", "treereason.tasks.sorting", "torch"],
)
def test_ctrl_c_before_the_run_is_one_line_and_code_130_whatever_is_being_imported(module: str, tmp_path: Path) -> None:
    early = subprocess.run(
        [sys.executable, "-c", EARLY, "task.limit=1", module],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (early.returncode, early.stdout, early.stderr) == (130, "", "treereason: interrupted\n")


LATE = """
import os, signal, sys

class Late:
    def __del__(self, kill=os.kill, pid=os.getpid(), sigint=signal.SIGINT):
        kill(pid, sigint)

late = Late()  # lives until Python unloads its modules
sys.argv = ["treereason", "--version"]
from treereason.__main__ import console
console()
"""


def test_ctrl_c_after_the_last_line_does_not_change_the_exit_status(tmp_path: Path) -> None:
    late = subprocess.run(
        [sys.executable, "-c", LATE], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert (late.returncode, late.stderr) == (0, "")


@pytest.mark.parametrize("closed", [(2,), (1, 2), (0, 1, 2)])
def test_a_stream_that_the_shell_has_closed_is_nobodys_file(closed: tuple[int, ...], tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        f"for number in {closed}: os.close(number)\n"
        "from treereason.__main__ import keep_standard_streams\n"
        "keep_standard_streams()\n"
        "with open(sys.argv[1], 'w') as file: file.write(str([os.readlink(f'/proc/self/fd/{n}') for n in (0, 1, 2)]))"
    )
    result = tmp_path / "streams"
    subprocess.run(
        [sys.executable, "-c", program, str(result)], env={"PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL
    )
    streams = ast.literal_eval(result.read_text())
    assert [streams[number] for number in closed] == ["/dev/null"] * len(closed)


def test_every_signal_that_ends_the_process_gives_the_terminal_back_first() -> None:
    ending = {signal.SIGPROF, signal.SIGVTALRM, signal.SIGIO, signal.SIGPWR, signal.SIGQUIT, signal.SIGRTMIN}
    assert ending <= set(FATAL)
    assert not {signal.SIGCHLD, signal.SIGTSTP, signal.SIGKILL, signal.SIGINT} & set(FATAL)
