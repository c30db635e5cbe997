"""Keys of a terminal, one after another, by name."""

from __future__ import annotations

import os
import select
import termios
from collections.abc import Iterator
from contextlib import contextmanager

NAMES = {
    "\x1b[A": "up", "\x1bOA": "up", "\x1b[B": "down", "\x1bOB": "down",
    "\x1b[C": "right", "\x1bOC": "right", "\x1b[D": "left", "\x1bOD": "left",
    "\x1b[5~": "page-up", "\x1b[6~": "page-down",
    "\x1b[H": "home", "\x1bOH": "home", "\x1b[1~": "home", "\x1b[F": "end", "\x1bOF": "end", "\x1b[4~": "end",
    "\x1b": "escape", "\r": "enter", "\n": "enter", "\t": "tab", "\x7f": "backspace", "\x08": "backspace",
    "\x03": "ctrl-c", "\x04": "ctrl-d", "\x06": "ctrl-f", "\x15": "ctrl-u",
}  # fmt: skip
"""What terminals send for keys that are no characters (xterm's and the application forms)."""
_LONGEST_READ = 1024


@contextmanager
def unbuffered(fd: int) -> Iterator[None]:
    """Keys arrive at once, without an echo, Ctrl-C and Ctrl-Z among them; afterwards the terminal is as before."""
    before = termios.tcgetattr(fd)
    raw = termios.tcgetattr(fd)
    raw[0] &= ~(termios.ICRNL | termios.IXON)
    raw[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN)
    termios.tcsetattr(fd, termios.TCSAFLUSH, raw)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSAFLUSH, before)


def read_keys(fd: int, wait_s: float) -> list[str] | None:
    """The keys that were pressed; empty when none is within `wait_s`, None when the terminal is gone."""
    if not select.select([fd], [], [], wait_s)[0]:
        return []
    try:
        data = os.read(fd, _LONGEST_READ)
    except OSError:
        return None
    return split(data.decode("utf-8", "replace")) if data else None


def split(text: str) -> list[str]:
    """The keys in what a terminal sent; unknown sequences are left out."""
    keys, at = [], 0
    while at < len(text):
        size = _sequence(text, at)
        piece = text[at : at + size]
        at += size
        name = NAMES.get(piece, piece)
        if len(name) > 1 and name == piece and piece.startswith("\x1b"):
            continue
        if len(name) > 1 or name.isprintable():
            keys.append(name)
    return keys


def _sequence(text: str, at: int) -> int:
    """Characters of the key that begins at `at`."""
    if text[at] != "\x1b" or text[at + 1 : at + 2] not in ("[", "O"):
        return 1
    end = at + 2
    while end < len(text) and not ("@" <= text[end] <= "~"):
        end += 1
    return end + 1 - at
