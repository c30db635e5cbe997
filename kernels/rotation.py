"""Rotary positions in torch's operations (Su et al., arXiv 2104.09864): the definition, and the way without kernels."""

from __future__ import annotations

import torch


def rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """x [N, H, D] with the two halves of each head turned against each other; cos, sin: [N, D], of both halves."""
    low, high = x.chunk(2, dim=-1)
    return x * cos[:, None] + torch.cat([-high, low], dim=-1) * sin[:, None]
