"""Statistics of next-token distributions, for scorers without labels (core/token_statistics.py says what they mean)."""

from __future__ import annotations

import torch

from treereason.core.token_statistics import TOP_K


def distribution_statistics(logits: torch.Tensor) -> list[list[float]]:
    """Entropy, self-certainty and confidence of each row of logits [B, V]; NaN where a row has a NaN or +inf."""
    # Row by row on a CPU: how torch splits a sum depends on the number of rows, and results must not.
    rows = torch.split(logits, 1) if logits.device.type == "cpu" else [logits]
    return torch.cat([_statistics(row.float().log_softmax(dim=1)) for row in rows]).tolist() if len(logits) else []


def _statistics(logprobs: torch.Tensor) -> torch.Tensor:
    """[B, 3] of log-probabilities [B, V]. A token with probability 0 is not in the vocabulary."""
    possible = logprobs != float("-inf")
    known = logprobs.masked_fill(~possible, 0.0).double()
    size = possible.sum(dim=1)
    entropy = -(known.exp() * known).sum(dim=1)
    self_certainty = -known.sum(dim=1) / size - size.log()
    top_k = logprobs.topk(min(TOP_K, logprobs.shape[1])).values
    inside = top_k != float("-inf")
    confidence = -top_k.masked_fill(~inside, 0.0).double().sum(dim=1) / inside.sum(dim=1)
    return torch.stack([entropy, self_certainty, confidence], dim=1)
