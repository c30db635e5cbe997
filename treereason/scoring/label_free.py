"""Scorers without labels: they read how likely and how certain the model was, which it tells with every token anyway.

Each looks at all tokens on the way from the root to the thought, so a step is scored by its whole path and an answer of
several steps like one of a single piece. Texts that were given (Tree.write: proposals, options) count like others.
Higher is better, and no score is below 0, so scores may weigh votes.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

from treereason.core import Scorer, Thought, TokenStatistics, label_free

NO_STATISTICS = "no statistics of tokens were computed: engine.token_statistics=true turns them on"
NO_TOKENS = "it holds no token"


_S = TypeVar("_S", bound=Scorer)


def of_distributions(scorer: _S) -> _S:
    """Mark a scorer that reads `Thought.token_statistics`, so that a run with it computes them."""
    scorer.token_statistics = True  # type: ignore[attr-defined]
    return scorer


@label_free
def likelihood(thought: Thought) -> float:
    """Geometric mean of the tokens' probabilities: the exponential of their mean log-probability, so 1 / perplexity.

    Raises ValueError where a server tells no log-probabilities.
    """
    path = thought.ancestors()
    logprobs = [each.logprob for each in path if each.logprob is not None]
    if len(logprobs) < len(path):
        raise ValueError("the server tells no log-probabilities")
    num_tokens = sum(each.num_tokens for each in path)
    if not num_tokens:
        raise ValueError(NO_TOKENS)
    return math.exp(math.fsum(logprobs) / num_tokens)


@label_free
@of_distributions
def entropy(thought: Thought) -> float:
    """The exponential of minus the mean entropy of the tokens' distributions: 1 when each token was certain."""
    return math.exp(-_mean([value for each in _statistics(thought) for value in each.entropy]))


@label_free
@of_distributions
def self_certainty(thought: Thought) -> float:
    """Mean over the tokens of the divergence of the uniform distribution from theirs.

    Self-certainty of Kang et al. 2025, arXiv 2502.18581.
    """
    return max(0.0, _mean([value for each in _statistics(thought) for value in each.self_certainty]))


@label_free
@of_distributions
def confidence(thought: Thought) -> float:
    """Mean token confidence, DeepConf's average trace confidence (Fu et al. 2025, arXiv 2508.15260)."""
    return _mean(_confidences(thought))


@label_free
@dataclass(frozen=True)
class LowestGroupConfidence:
    """Least mean confidence of any `window` tokens in a row, or of all tokens where there are fewer.

    DeepConf's lowest group confidence (Fu et al. 2025, arXiv 2508.15260).
    """

    option_group = "confidence"
    token_statistics = True

    window: int = 2048

    def __call__(self, thought: Thought) -> float:
        values = _confidences(thought)
        size = min(self.window, len(values))
        sums = [0.0, *accumulate(values)]
        return min(sums[end] - sums[end - size] for end in range(size, len(sums))) / size


@label_free
@dataclass(frozen=True)
class TailConfidence:
    """Mean confidence of the last `tail` tokens, DeepConf's tail confidence (arXiv 2508.15260)."""

    option_group = "confidence"
    token_statistics = True

    tail: int = 2048

    def __call__(self, thought: Thought) -> float:
        return _mean(_confidences(thought)[-self.tail :])


def _statistics(thought: Thought) -> Iterator[TokenStatistics]:
    """Of the thoughts from the root to this one, in order; the root has none."""
    for each in reversed(thought.ancestors()[:-1]):
        if each.token_statistics is None:
            raise ValueError(NO_STATISTICS)
        yield each.token_statistics


def _confidences(thought: Thought) -> Sequence[float]:
    values = array("d", (value for each in _statistics(thought) for value in each.confidence))
    if not values:
        raise ValueError(NO_TOKENS)
    return values


def _mean(values: Sequence[float]) -> float:
    if not values:
        raise ValueError(NO_TOKENS)
    return math.fsum(values) / len(values)
