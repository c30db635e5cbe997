"""Hands the weights of all decoder layers to the compiled kernel, where every part of them is known to it."""

from __future__ import annotations

from typing import Any

from torch import nn

from treereason.engine.model.fused_modules import FusedAttention, FusedGate, FusedLayer, FusedNorm
from treereason.engine.model.packed import CompiledLinear, LinearPart
from treereason.kernels.cpu.layer_weights import LayerWeights, Matrix, Norm
from treereason.kernels.options import AttentionOptions


def know_whole_layers(network: nn.Module) -> None:
    """Let all fused layers be computed at once, if their matrices are compiled and they do nothing else."""
    layers = [layer for layer in network.modules() if isinstance(layer, FusedLayer)]
    weights = [known for layer in layers if (known := _weights(layer)) is not None]
    if layers and len(weights) == len(layers):
        for layer in layers:
            layer.whole = ()
        layers[0].whole = tuple(weights)


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
