"""What the model's distributions looked like, token by token: what scorers without labels read."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

TOP_K = 20
"""Likeliest tokens that token confidence looks at: k of Fu et al. 2025 (arXiv 2508.15260)."""


def _floats() -> array[float]:
    return array("f")


@dataclass
class TokenStatistics:
    """One number per token of a text, in order, each of the distribution that the token was drawn from.

    The distributions are the model's own, at temperature 1 and with nothing cut off. The end token counts, and so does
    the one that completed a stop string. In nats, float32.
    entropy: Shannon's, 0 for a certain token.
    self_certainty: Kullback-Leibler divergence of the uniform distribution from it (Kang et al. 2025, arXiv
        2502.18581), over the tokens that are possible at all.
    confidence: minus the mean log-probability of its TOP_K likeliest tokens (Fu et al. 2025, arXiv 2508.15260), or of
    all where the vocabulary has fewer.
    """

    entropy: array[float] = field(default_factory=_floats)
    self_certainty: array[float] = field(default_factory=_floats)
    confidence: array[float] = field(default_factory=_floats)

    def __len__(self) -> int:
        return len(self.entropy)

    def extend(self, rows: Iterable[Sequence[float]]) -> None:
        """Add the numbers of further tokens: entropy, self-certainty and confidence of each."""
        for entropy, self_certainty, confidence in rows:
            self.entropy.append(entropy)
            self.self_certainty.append(self_certainty)
            self.confidence.append(confidence)

    def copy(self) -> TokenStatistics:
        """The same numbers, for a text that goes on."""
        return TokenStatistics(self.entropy[:], self.self_certainty[:], self.confidence[:])
