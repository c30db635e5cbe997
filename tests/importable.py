"""Scorers and a task that the process which scores imports: in a file of their own, because it imports no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, ClassVar

import treereason as tr


def by_process(_: tr.Thought) -> float:
    """It tells where it ran."""
    return os.getpid()


def raises(_: tr.Thought) -> float:
    """No scorer that works."""
    raise LookupError("no such list")


class Judge:
    """A scorer with a state of its own."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, _: tr.Thought) -> float:
        self.seen += 1
        return 0.25


@dataclass(frozen=True)
class Shout(tr.tasks.BaseTask):
    """A task of one's own; its scorer is a function beside it."""

    scorer = "loud"
    templates: ClassVar = {"embedded": {"solve": tr.tasks.Template("sort {digits}=")}}

    def generate(self, rng: Any) -> tuple[dict[str, str], str]:
        return {"digits": str(rng.randrange(10**6))}, ""


def loud(thought: tr.Thought) -> float:
    """The scorer that `Shout` names."""
    return len(thought.text)
