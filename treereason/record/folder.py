"""A run folder has one run at a time: two would write over each other, line by line."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from treereason.core import UserError

NAME = ".lock"
ELSEWHERE = "choose another folder with hydra.run.dir (with -m: hydra.sweep.dir)"


def unwritable(what: object, reason: object) -> UserError:
    """What to raise when the disk does not take what a run has to record."""
    return UserError(f"{what} cannot be written ({reason}): make room, or {ELSEWHERE}")


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Keep `folder` from other processes until the block ends or this process does, however it dies.

    The system's record lock: no child inherits it, and a process may take it again, but frees it when the first of its
    blocks ends: only hydra's last words come between the end of a run and of the outer block.

    Raises UserError when another process holds the folder, or when it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / NAME).open("w")
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): {ELSEWHERE}") from error
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # POSIX leaves the choice
            raise UserError(f"{folder}: another run is at work there: wait for its end, or {ELSEWHERE}") from None
        yield
