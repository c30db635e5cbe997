"""Steps of any shape, computed operation by operation: prompts, given texts and branches in any mixture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from treereason.engine.attention.eager_step import COMPILED, AttentionKind, EagerStep, eager_step
from treereason.engine.attention.span_reader import SpanReader
from treereason.engine.kv.cache import KVCache
from treereason.engine.kv.forest import Forest, Node
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.schedule.branch import Branch
from treereason.engine.schedule.given_text import GivenTokens
from treereason.engine.schedule.step_batch import StepBatch
from treereason.engine.steps.distribution_statistics import distribution_statistics
from treereason.engine.steps.sampler import sample
from treereason.engine.steps.sampling_rows import SamplingRows
from treereason.engine.steps.step_kind import Drawn
from treereason.profile import Profile


@dataclass
class _Started:
    """A step that is being computed. place: of each wanted row, its place among the logits."""

    batch: StepBatch
    step: EagerStep
    place: dict[int, int] = field(default_factory=dict)
    logits: torch.Tensor = field(default_factory=lambda: torch.empty(0))

    def logits_of(self, node: Node, rows: range) -> torch.Tensor:
        """Logits [len(rows), V] of some of a node's rows."""
        return self.logits[[self.place[self.step.rows[node][row]] for row in rows]]


class EagerSteps:
    """Takes every step. num_rows: rows that each step is padded to; 0 for none.

    token_statistics: also tell branches and given texts what the distributions of their tokens looked like.
    reader: tells what rows see; None where they see their whole paths.
    """

    launch = ""
    num_bytes = 0
    ahead: tuple[Node, ...] = ()

    def __init__(
        self,
        model: LanguageModel,
        forest: Forest,
        cache: KVCache,
        *,
        attention: AttentionKind,
        num_rows: int = 0,
        token_statistics: bool = False,
        reader: SpanReader | None = None,
        profile: Profile | None = None,
    ) -> None:
        self._model = model
        self._forest = forest
        self._cache = cache
        self._attention = attention
        self._num_rows = num_rows
        self._token_statistics = token_statistics
        self._reader = reader
        self._profile = profile or Profile()
        self._started: _Started | None = None

    def start(self, batch: StepBatch) -> None:
        """Begin to compute the batch; never refuses."""
        with self._profile.measure("plan"):
            step = eager_step(
                self._forest,
                batch.tokens,
                self._cache,
                attention=self._attention,
                num_rows=self._num_rows,
                reader=self._reader,
                device=self._model.device,
                profile=self._profile,
            )
            started = _Started(batch, step)
            wanted = [row for branch in batch.branches for row in batch.rows_of(branch, step.rows)]
            wanted += [step.rows[prompt.node][-1] for prompt in batch.prompts if not prompt.texts]
            wanted += [step.rows[given.node][row] for given in batch.given for row in given.rows]
            started.place = {row: i for i, row in enumerate(dict.fromkeys(wanted))}
        with self._profile.measure("model"):
            started.logits = self._model.forward(step, list(started.place))
        self._started = started

    def finish(self, branches: Sequence[Branch]) -> Drawn:
        """As in StepKind."""
        assert self._started is not None
        with self._profile.measure("sampling"):
            for given in self._started.batch.given:
                logits = self._started.logits_of(given.node, given.rows)
                _enter(given, logits)
                if self._token_statistics:
                    given.text.measure(given.first, distribution_statistics(logits))
            if not branches:
                return Drawn([], [])
            return self._draw(self._started, branches)

    def _draw(self, started: _Started, branches: Sequence[Branch]) -> Drawn:
        device = self._model.device
        rows: list[int] = []
        of_rows: list[Branch] = []
        for branch in branches:
            found = started.batch.rows_of(branch, started.step.rows)
            rows += found
            of_rows += [branch] * len(found)
        logits = _picked(started.logits, [started.place[row] for row in rows])
        tokens, logprobs = sample(
            logits,
            torch.from_numpy(np.array([branch.key for branch in of_rows], dtype=np.int64)).to(device),
            _picked(started.step.positions, rows) + 1,
            SamplingRows.of([branch.sampling for branch in of_rows], device),
            compiled=self._attention in COMPILED,
        )
        statistics = distribution_statistics(logits) if self._token_statistics else None
        return Drawn(tokens.tolist(), logprobs.tolist(), statistics)

    @property
    def kv_tokens_read(self) -> int:
        """As in StepKind."""
        assert self._started is not None
        return self._started.step.whole.kv_tokens_read_tree

    @property
    def kv_tokens_seen(self) -> int:
        """As in StepKind."""
        assert self._started is not None
        return self._started.step.plan.kv_tokens_read_tree


def _picked(values: torch.Tensor, rows: list[int]) -> torch.Tensor:
    """values[rows], not copied where these are all."""
    return values if rows == list(range(len(values))) else values[rows]


def _enter(given: GivenTokens, logits: torch.Tensor) -> None:
    """Enter the log-probabilities of a given text's tokens; logits: [len(given.tokens), V]."""
    tokens = torch.tensor(given.tokens, device=logits.device)[:, None]
    given.text.take(given.first, logits.float().log_softmax(dim=1).gather(1, tokens)[:, 0].tolist())
