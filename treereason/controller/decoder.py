"""What the controller needs of whatever decodes: the engine on this machine, or a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from treereason.core import Decoded, Request, ThoughtPath
from treereason.events import StepDone


class Decoder(Protocol):
    """`engine/engine.py` on this machine, `remote/engine.py` on a server."""

    @property
    def style(self) -> str:
        """Style of the prompts that its model understands."""
        ...

    @property
    def busy(self) -> bool: ...

    def submit(self, request: Request, known: Mapping[ThoughtPath, Decoded] | None = None) -> None:
        """Queue a request; its children come back from `step`, failed ones with an error.

        known: recorded answers of children, which come back as they are and can be continued.
        """
        ...

    def step(self) -> tuple[list[Decoded], StepDone | None]:
        """Go on for a moment. Returns the children that are done, and figures (None when nothing was computed)."""
        ...

    def stop(self, problem: str, error: str) -> None:
        """End all that the problem is decoding; it comes back from `step` with this error."""
        ...

    def drop(self, problem: str, path: ThoughtPath) -> None:
        """Give back a thought's KV; it can still be continued, and is then computed again. Never an error."""
        ...

    def kv_tokens(self, problem: str, paths: Sequence[ThoughtPath]) -> int:
        """KV tokens that these thoughts hold together, in whole pages, shared ones once. A server raises UserError."""
        ...

    def end_problem(self, problem: str) -> int:
        """Give up and forget all of a problem; returns the most KV tokens that it ever had."""
        ...
