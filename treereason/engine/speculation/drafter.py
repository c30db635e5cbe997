"""The interface of those who propose tokens. No proposal changes an answer, so a drafter may guess as it likes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from treereason.engine.schedule.branch import Branch
from treereason.engine.schedule.draft import Draft


class Drafter(Protocol):
    """Proposes what may follow branches. They hold all tokens that were drawn for them, and none that is proposed."""

    def propose(self, branches: Sequence[Branch]) -> list[Draft]:
        """A draft for each branch, empty where nothing is to be proposed. What is too long is cut off."""
        ...

    def forget(self, problem: str) -> None:
        """Drop all that is held for a problem that has ended."""
        ...
