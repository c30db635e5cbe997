"""A sink of events that writes the scalars of a run for TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from treereason.core import UserError
from treereason.events import Event, ProblemDone, RunStarted, StepDone


class TensorBoard:
    """Writes into `folder` what `tensorboard --logdir` shows; give it to `treereason.run(trackers=[...])`.

    By engine step: branches, KV tokens, tokens decoded so far. By problem done: share solved so far, mean score so far,
    tokens of the problem. The greedy baseline has tags of its own. Use as a context manager, or call `close`.

    Raises UserError without the package tensorboard.
    """

    def __init__(self, folder: Path | str, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives seconds since 1970."""
        try:
            from tensorboard.summary import Writer
        except ImportError:
            raise UserError("TensorBoard needs its package: pip install 'treereason[tensorboard]'") from None
        self._writer = Writer(str(folder))
        self._clock = clock
        self._start("search")

    def __call__(self, event: Event) -> None:
        """Write what the event adds."""
        match event:
            case RunStarted():
                self._start(event.pass_name)
            case StepDone():
                self._steps += 1
                self._tokens += event.tokens_decoded
                self._add("branches", event.num_branches, self._steps)
                self._add("kv_tokens", event.kv_tokens_used, self._steps)
                self._add("tokens_decoded", self._tokens, self._steps)
            case ProblemDone():
                self._solved.append(float(event.solved))
                self._scores += [event.score] if event.score is not None else []
                done = len(self._solved)
                self._add("solved", sum(self._solved) / done, done)
                self._add("tokens_of_problem", event.tokens_decoded, done)
                if self._scores:
                    self._add("mean_score", sum(self._scores) / len(self._scores), done)
            case _:
                pass

    def close(self) -> None:
        """Write what is left; may be called once."""
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, pass_name: str) -> None:
        self._pass = pass_name
        self._steps = self._tokens = 0
        self._solved: list[float] = []
        self._scores: list[float] = []

    def _add(self, name: str, value: float, step: int) -> None:
        self._writer.add_scalar(f"{self._pass}/{name}", value, step, wall_time=self._clock())
