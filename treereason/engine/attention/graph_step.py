"""A step inside a captured graph: its plan lies at fixed addresses and changes in place between replays."""

from __future__ import annotations

import torch

from treereason.engine.kv.cache import KVCache
from treereason.kernels.options import AttentionOptions
from treereason.kernels.plan import Plan


class GraphStep:
    """Attention of captured steps of at most `num_rows` branches, one token each. An `AttentionStep`.

    Needs Triton, and pools that every layer has stored to.
    """

    def __init__(self, cache: KVCache, plan: Plan, num_rows: int) -> None:
        from treereason.kernels.gpu.static_backend import StaticBackend  # needs Triton, which a CPU may lack

        self.backend = StaticBackend(plan, num_rows)
        self._cache = cache

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, options: AttentionOptions
    ) -> torch.Tensor:
        """As in AttentionStep; rows of padding store nothing, and their output is undefined."""
        return self.backend(query.contiguous(), key, value, *self._cache.pools(layer), options)

    def rotate_and_attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        rotation: tuple[torch.Tensor, torch.Tensor],
        options: AttentionOptions,
    ) -> torch.Tensor:
        """As in RotatingStep; of padding as `attend`."""
        return self.backend.rotated(query, key, value, rotation, *self._cache.pools(layer), options)
