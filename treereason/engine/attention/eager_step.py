"""A step of any shape: its plan is made, used by all layers, and thrown away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from treereason.engine.attention.forest_plan import forest_plan
from treereason.engine.attention.sequence_plan import each_branch_alone
from treereason.engine.attention.span_reader import SpanReader
from treereason.engine.kv.cache import KVCache
from treereason.engine.kv.forest import Forest, Node
from treereason.kernels.cpu.compiled_backend import CompiledBackend
from treereason.kernels.cpu.invariant_backend import InvariantBackend
from treereason.kernels.cpu.layer_weights import LayerWeights
from treereason.kernels.cpu.torch_backend import TorchBackend
from treereason.kernels.gpu.triton_backend import TritonBackend
from treereason.kernels.options import AttentionOptions
from treereason.kernels.plan import Plan
from treereason.kernels.rotation import rotated
from treereason.profile import Profile

AttentionKind = Literal["tree", "compiled", "triton", "sequence", "compiled_sequence", "invariant"]
"""tree: each node is read once, on torch; compiled: the same in C++ on a CPU; triton: on a GPU. sequence: every branch
reads its own path, for comparison. invariant: bits of a row do not depend on what else is computed in the step."""

Backend = TorchBackend | CompiledBackend | TritonBackend | InvariantBackend
BACKENDS: dict[AttentionKind, Callable[[Plan], Backend]] = {
    "tree": TorchBackend,
    "compiled": CompiledBackend,
    "triton": TritonBackend,
    "sequence": TorchBackend,
    "compiled_sequence": CompiledBackend,
    "invariant": InvariantBackend,
}
COMPILED: tuple[AttentionKind, ...] = ("compiled", "compiled_sequence")
ALONE: tuple[AttentionKind, ...] = ("sequence", "compiled_sequence")


@dataclass(frozen=True)
class EagerStep:
    """What attention needs to know of one step, the same for all layers. An `AttentionStep`.

    token_ids, positions: [N] int64, rows in depth-first order, then `num_padding` rows of padding.
    slots: [N - num_padding] int64, where a row's key and value are stored.
    rows: of each node that computes tokens, the rows of those, in their order.
    wanted: [N] bool, the rows whose logits are read; None for all.
    whole: the plan if rows saw their whole paths.
    """

    plan: Plan
    whole: Plan
    backend: Backend
    profile: Profile
    cache: KVCache
    token_ids: torch.Tensor
    positions: torch.Tensor
    slots: torch.Tensor
    rows: dict[Node, range]
    num_padding: int = 0
    wanted: torch.Tensor | None = None

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, options: AttentionOptions
    ) -> torch.Tensor:
        """As in AttentionStep; rows of padding give zeros."""
        with self.profile.measure("attention"):
            query, key, value = (x[: len(self.slots)] for x in (query, key, value))
            if isinstance(self.backend, CompiledBackend):
                pools = self.cache.reserve(layer, key, value)
                return self._padded(self.backend.attend(query, *pools, options, new=(key, value)))
            keys, values = self.cache.store(layer, self.slots, key, value)
            out, _lse = self.backend(query.contiguous(), keys, values, options)
            return self._padded(out)

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
        if not isinstance(self.backend, (CompiledBackend, TritonBackend)):
            return self.attend(layer, rotated(query, *rotation), rotated(key, *rotation), value, options)
        with self.profile.measure("attention"):
            query, key, value, cos, sin = (x[: len(self.slots)] for x in (query, key, value, *rotation))
            keys, values = self.cache.reserve(layer, key, value)
            if isinstance(self.backend, CompiledBackend):
                new = key, value
                return self._padded(self.backend.attend(query, keys, values, options, new=new, rotation=(cos, sin)))
            from treereason.kernels.gpu.rope_store import rope_store  # a CPU may lack Triton

            query = rope_store(query, key, value, cos, sin, keys, values, self.slots)
            out, _lse = self.backend(query, keys, values, options)
            return self._padded(out)

    @property
    def computes_layers(self) -> bool:
        """Whether `decoder_layers` may be called."""
        return isinstance(self.backend, CompiledBackend) and not self.num_padding

    def decoder_layers(
        self, x: torch.Tensor, layers: Sequence[LayerWeights], rotation: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        """What a model's decoder layers make of x [N, width], their keys and values stored; of `wanted` rows alone.

        rotation: as in RotatingStep.
        """
        assert isinstance(self.backend, CompiledBackend)
        heads = x.new_empty(0, layers[0].num_kv_heads, layers[0].head_dim)
        pools = [self.cache.reserve(layer.index, heads, heads) for layer in layers]
        with self.profile.measure("layers"):
            return self.backend.decoder_layers(x, layers, pools, rotation, self.wanted)

    def _padded(self, out: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(out, (0, 0, 0, 0, 0, self.num_padding)) if self.num_padding else out


def eager_step(
    forest: Forest,
    num_new: Mapping[Node, int],
    cache: KVCache,
    *,
    attention: AttentionKind = "tree",
    num_rows: int = 0,
    reader: SpanReader | None = None,
    device: torch.device | str = "cpu",
    profile: Profile | None = None,
) -> EagerStep:
    """The step that computes the last num_new[node] stored tokens of every node in `num_new`.

    num_rows: rows to pad to, so that every step has the same shape; 0 for none. reader: as in forest_plan.
    """
    planned = forest_plan(forest, num_new, reader=reader)
    plan = planned.plan
    token_ids = [
        token
        for node, num in zip(planned.nodes, planned.num_new.tolist(), strict=True)
        for token in node.tokens[node.num_cached - num : node.num_cached]
    ]
    num_padding = max(0, num_rows - plan.num_rows)
    positions = np.pad(plan.row_position, (0, num_padding)) if num_padding else plan.row_position
    return EagerStep(
        plan=plan,
        whole=planned.whole,
        backend=BACKENDS[attention](each_branch_alone(plan, planned.num_new) if attention in ALONE else plan),
        profile=profile or Profile(),
        cache=cache,
        token_ids=torch.tensor(token_ids + [0] * num_padding, device=device),
        positions=torch.from_numpy(positions).long().to(device),
        slots=torch.from_numpy(plan.row_slot).long().to(device),
        rows=planned.rows(),
        num_padding=num_padding,
    )
