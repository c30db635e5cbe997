"""The attention heads of one layer: what a kernel is compiled for, and what its bytes are counted by."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class LayerShape:
    """Heads of one layer, equal for all layers that share planned work.

    num_heads: query heads, Hq. num_kv_heads: Hkv; divides Hq, else ValueError. head_dim: D, of keys and values alike.
    dtype: of q, k, v and out.
    """

    num_heads: int
    num_kv_heads: int
    head_dim: int
    dtype: torch.dtype

    def __post_init__(self) -> None:
        if self.num_kv_heads < 1 or self.num_heads % self.num_kv_heads:
            raise ValueError(f"{self.num_heads} query heads cannot share {self.num_kv_heads} KV heads evenly")

    @staticmethod
    def of(q: torch.Tensor, k: torch.Tensor) -> LayerShape:
        """Of queries [N, Hq, D] and keys [num_slots, Hkv, D]."""
        return LayerShape(q.shape[1], k.shape[1], q.shape[2], q.dtype)

    @property
    def group_size(self) -> int:
        """Query heads per KV head, G in shapes (grouped-query attention, arXiv 2305.13245)."""
        return self.num_heads // self.num_kv_heads

    @property
    def kv_token_bytes(self) -> int:
        """Keys and values of one token."""
        return 2 * self.num_kv_heads * self.head_dim * self.dtype.itemsize

    @property
    def row_bytes(self) -> int:
        """Queries, or outputs, of one row."""
        return self.num_heads * self.head_dim * self.dtype.itemsize

    @property
    def partial_row_bytes(self) -> int:
        """Partial result of one row: float32, with its log-sum-exp."""
        return self.num_heads * (self.head_dim + 1) * 4
