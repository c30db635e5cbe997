"""The memory behind the pages: keys and values of all layers."""

from __future__ import annotations

import torch

from treereason.core import UserError


class KVCache:
    """Keys and values of all layers, one pool per layer, [num_slots, Hkv, D] each, made when a layer first stores."""

    def __init__(self, num_pages: int, page_size: int) -> None:
        self.num_pages = num_pages
        self.page_size = page_size
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def store(
        self, layer: int, slots: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Put key and value [N, Hkv, D] into slots [N] and return the layer's pools."""
        keys, values = self.reserve(layer, key, value)
        keys[slots] = key
        values[slots] = value
        return keys, values

    def reserve(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The layer's pools, made now for such keys and values [N, Hkv, D] if it has none yet."""
        if layer not in self._layers:
            num_slots = self.num_pages * self.page_size
            try:
                keys, values = (_pool(num_slots, x) for x in (key, value))
            except RuntimeError as error:  # torch's, on any device
                raise UserError(
                    f"engine.kv_tokens={num_slots}: KV of so many tokens does not fit into memory at layer {layer}; "
                    "give less"
                ) from error
            self._layers[layer] = keys, values
        return self._layers[layer]

    @torch.inference_mode()
    def move(self, sources: list[int], targets: list[int]) -> None:
        """Copy keys and values of all layers from slots to others, none of which is among the sources."""
        for keys, values in self._layers.values():
            for pool in (keys, values):
                pool[targets] = pool[sources]

    def pools(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of a layer that has stored some; they keep their addresses."""
        return self._layers[layer]


def _pool(num_slots: int, like: torch.Tensor) -> torch.Tensor:
    """Uninitialised keys or values of one layer, [num_slots, Hkv, D]; the slots of one head lie contiguous."""
    _, num_kv_heads, head_dim = like.shape
    return torch.empty(num_kv_heads, num_slots, head_dim, dtype=like.dtype, device=like.device).transpose(0, 1)
