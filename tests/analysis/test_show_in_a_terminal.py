"""`treereason show` in a terminal of its own: it opens, takes keys, and gives the terminal back."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pyte
import pytest

from benchmarks.made_up_runs import folder
from tests.fakes import HANG_S, ROOT

ROWS, COLUMNS = 24, 100


class Terminal:
    """A terminal with `treereason show` in it."""

    def __init__(self, *words: str) -> None:
        self._ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.before = termios.tcgetattr(self.theirs)
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        environment = {**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            environment.pop(name, None)
        command = [sys.executable, "-m", "treereason", "show", *words]
        end = self.theirs
        self.process = subprocess.Popen(command, stdin=end, stdout=end, stderr=end, cwd=ROOT, env=environment)

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def wait_for(self, text: str) -> None:
        """Read until the text is on the screen."""
        deadline = time.monotonic() + HANG_S
        while not any(text in line for line in self._screen.display):
            assert time.monotonic() < deadline, "\n".join(self._screen.display)
            if select.select([self._ours], [], [], 0.1)[0]:
                self._stream.feed(os.read(self._ours, 65536))

    def end(self) -> int:
        """The exit code; what it writes is read until then."""
        deadline = time.monotonic() + HANG_S
        while (code := self.process.poll()) is None:
            assert time.monotonic() < deadline
            if select.select([self._ours], [], [], 0.05)[0]:
                os.read(self._ours, 65536)
        return code


@pytest.mark.parametrize(("way", "code"), [("q", 0), ("SIGTERM", 130)])
def test_show_opens_takes_keys_and_gives_the_terminal_back(tmp_path: Path, way: str, code: int) -> None:
    terminal = Terminal(str(folder(tmp_path / "run", 60)))
    terminal.wait_for("problem 1 of 1")
    terminal.press("g")
    terminal.wait_for("── the problem")
    terminal.press("\x1b[B")
    terminal.wait_for("── thought 0  ")
    if way == "q":
        terminal.press("q")
    else:
        terminal.process.send_signal(signal.SIGTERM)
    assert terminal.end() == code
    assert termios.tcgetattr(terminal.theirs) == terminal.before


def test_letters_that_the_encoding_of_the_output_lacks_are_written_as_escapes(tmp_path: Path) -> None:
    run = folder(tmp_path, 20)
    command = [sys.executable, "-m", "treereason", "show", str(run), "p", "--plain"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"\u25" in done.stdout
