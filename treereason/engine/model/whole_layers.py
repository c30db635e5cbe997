"""Hands the weights of all decoder layers to the compiled kernel, where every part of a network is known to it."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from treereason.engine.model.fused_modules import FusedAttention, FusedGate, FusedLayer, FusedNorm
from treereason.engine.model.packed import CompiledLinear, LinearPart
from treereason.kernels.cpu.layer_weights import LayerWeights, Matrix, Norm
from treereason.kernels.options import AttentionOptions

NETWORKS = {"treereason.engine.model.llama.Llama"} | {
    f"transformers.models.{model}.modeling_{model}.{model.capitalize()}ForCausalLM"
    for model in ("llama", "mistral", "qwen2")
}
"""Embeddings, decoder layers, a norm and a head, and nothing in between."""


class WholeNetwork(nn.Module):
    """One of NETWORKS whose decoder layers a step computes at once; without what transformers does around them."""

    weights: tuple[LayerWeights, ...]
    rotation: tuple[torch.Tensor, torch.Tensor] | None = None
    """Cosines and sines of positions from 0 on, made as they come up, [positions, D] each."""

    def forward(self, **given: Any) -> Any:
        step: Any = given.get("step")
        if not getattr(step, "computes_layers", False):
            return super().forward(**given)
        trunk: Any = self.model
        x = trunk.embed_tokens(given["input_ids"])
        rotation = self._rotation(x, given["position_ids"][0])
        rows = trunk.norm(step.decoder_layers(x[0], self.weights, rotation))
        kept = given.get("logits_to_keep")
        head: Any = self.lm_head
        return SimpleNamespace(logits=head(rows if kept is None else rows[kept])[None])

    def _rotation(self, x: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of positions [N] int64, [N, D] each in the dtype of x."""
        last = int(positions.max())
        if self.rotation is None or last >= len(self.rotation[0]):
            trunk: Any = self.model
            [cos], [sin] = trunk.rotary_emb(x, torch.arange(1 << last.bit_length())[None])
            self.rotation = cos, sin
        cos, sin = self.rotation
        return cos[positions], sin[positions]


def know_whole_layers(network: Any) -> None:
    """Let a known network's layers be computed at once, if their matrices are compiled and they do nothing else."""
    original: Any = type(network)  # mypy finds classes of modules not hashable
    if f"{original.__module__}.{original.__qualname__}" not in NETWORKS:
        return
    layers = network.model.layers
    weights = [known for layer in layers if isinstance(layer, FusedLayer) and (known := _weights(layer)) is not None]
    if len(weights) == len(layers) > 0:
        network.__class__ = _whole(original)
        network.weights = tuple(weights)


@cache
def _whole(original: Any) -> type[nn.Module]:
    return type(f"Whole{original.__name__}", (WholeNetwork, original), {})


def _weights(layer: Any) -> LayerWeights | None:
    attention, gated = layer.self_attn, layer.mlp
    norms = layer.input_layernorm, layer.post_attention_layernorm
    known = isinstance(attention, FusedAttention) and isinstance(gated, FusedGate)
    if not known or hasattr(attention, "q_norm") or not all(isinstance(norm, FusedNorm) for norm in norms):
        return None
    inputs, gates = attention.q_proj, gated.gate_proj
    if not isinstance(inputs, LinearPart) or not isinstance(gates, LinearPart):
        return None
    linears: list[Any] = [inputs.whole, attention.o_proj, gates.whole, gated.down_proj]
    if not all(isinstance(linear, CompiledLinear) for linear in linears):
        return None
    first, second = (Norm(norm.numbers()[0], norm.numbers()[1], norm.form) for norm in norms)
    qkv, out, gate_up, down = (Matrix(linear.packed, linear.bias) for linear in linears)
    head_dim = attention.head_dim
    num_heads, num_kv_heads = (linear.num_outputs // head_dim for linear in (inputs, attention.k_proj))
    return LayerWeights(
        first,
        second,
        qkv,
        out,
        gate_up,
        down,
        index=attention.layer_idx,
        options=AttentionOptions(scale=attention.scaling, window=attention.window()),
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        inner_width=gates.num_outputs,
    )
