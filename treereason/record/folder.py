"""One run at a time writes into a run folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from treereason.core import UserError

NAME = ".lock"
ELSEWHERE = "choose another folder with hydra.run.dir (with -m: hydra.sweep.dir; in Python: folder)"


def unwritable(what: object, reason: object, elsewhere: str = ELSEWHERE) -> UserError:
    """What to raise when the disk is full, or refuses `what` for another `reason`.

    elsewhere: how another place is chosen; by default that of a run.
    """
    return UserError(f"{what} cannot be written ({reason}): free some space, or {elsewhere}")


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Make `folder` and lock it against other processes, until the block ends or this process dies.

    A POSIX record lock: children do not inherit it. A process may lock a folder twice, but the end of the first block
    unlocks it; after that hydra only writes its own files.

    Raises UserError when another process has locked the folder, or when it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / NAME).open("w")
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): {ELSEWHERE}") from error
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # POSIX allows either
            raise UserError(f"{folder}: another run is at work there: wait for its end, or {ELSEWHERE}") from None
        except OSError as error:
            raise UserError(f"{folder} is on a file system without locks ({error.strerror}): {ELSEWHERE}") from error
        yield
