"""Steps of any shape, computed operation by operation: prompts, given texts and branches in any mixture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
from treereason.profile import Profile


@dataclass(frozen=True)
class _Started:
    """A step that is being computed. place: of each wanted row, its place among the logits."""

    batch: StepBatch
    step: EagerStep
    place: dict[int, int]
    logits: torch.Tensor

    def logits_of(self, node: Node, rows: range) -> torch.Tensor:
        """Logits [len(rows), V] of some of a node's rows."""
        return self.logits[[self.place[self.step.rows[node][row]] for row in rows]]

    def last_rows(self, nodes: Sequence[Node]) -> torch.Tensor:
        """Logits [len(nodes), V] behind the last token of each node; of the node above, if it has no token yet."""
        places = []
        for node in nodes:
            if node not in self.step.rows:
                assert node.parent is not None
                assert not node.tokens
                node = node.parent
            places.append(self.place[self.step.rows[node][-1]])
        return self.logits[places]


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
            sampled = [branch.node for branch in batch.branches]
            sampled += [prompt.node for prompt in batch.prompts if not prompt.texts]
            wanted = [step.rows[node][-1] for node in sampled]
            wanted += [step.rows[given.node][row] for given in batch.given for row in given.rows]
            place = {row: i for i, row in enumerate(dict.fromkeys(wanted))}
        with self._profile.measure("model"):
            self._started = _Started(batch, step, place, self._model.forward(step, list(place)))

    def finish(self, branches: Sequence[Branch]) -> tuple[list[int], list[float]]:
        """As in StepKind."""
        assert self._started is not None
        with self._profile.measure("sampling"):
            for given in self._started.batch.given:
                logits = self._started.logits_of(given.node, given.rows)
                _enter(given, logits)
                if self._token_statistics:
                    given.text.measure(given.first, distribution_statistics(logits))
            if not branches:
                return [], []
            logits = self._started.last_rows([branch.node for branch in branches])
            if self._token_statistics:
                for branch, row in zip(branches, distribution_statistics(logits), strict=True):
                    branch.measure([row])
            return _draw(logits, branches, compiled=self._attention in COMPILED)

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


def _enter(given: GivenTokens, logits: torch.Tensor) -> None:
    """Enter the log-probabilities of a given text's tokens; logits: [len(given.tokens), V]."""
    tokens = torch.tensor(given.tokens, device=logits.device)[:, None]
    given.text.take(given.first, logits.float().log_softmax(dim=1).gather(1, tokens)[:, 0].tolist())


def _draw(logits: torch.Tensor, branches: Sequence[Branch], *, compiled: bool) -> tuple[list[int], list[float]]:
    """Each branch's next token and its log-probability, from its row of logits [len(branches), V]."""
    device = logits.device
    tokens, logprobs = sample(
        logits,
        torch.tensor([branch.key for branch in branches], device=device),
        torch.tensor([branch.node.end for branch in branches], device=device),
        SamplingRows.of([branch.sampling for branch in branches], device),
        compiled=compiled,
    )
    return tokens.tolist(), logprobs.tolist()
