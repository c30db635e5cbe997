"""Hands the weights of whole decoder layers to the compiled kernel, where every part of a layer is known to it."""

from __future__ import annotations

from typing import Any

from torch import nn

from treereason.engine.model.fused_modules import FusedAttention, FusedGate, FusedLayer, FusedNorm
from treereason.engine.model.packed import CompiledLinear, LinearPart
from treereason.kernels.cpu.layer_weights import LayerWeights, Matrix, Norm


def know_whole_layers(network: nn.Module) -> None:
    """Let fused layers be computed at once, those whose matrices are compiled and that do nothing else."""
    for layer in network.modules():
        if isinstance(layer, FusedLayer):
            layer.whole = _weights(layer)


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
    sizes = {"num_heads": num_heads, "num_kv_heads": num_kv_heads, "head_dim": head_dim}
    return LayerWeights(first, second, qkv, out, gate_up, down, **sizes, inner_width=gates.num_outputs)
