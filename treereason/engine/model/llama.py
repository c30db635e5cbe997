"""The Llama architecture in plain torch, for the shipped model: transformers takes longer to import than that to load.

Touvron et al. 2023, with grouped queries, tied embeddings and no biases. Modules have the names, attributes and
arguments of transformers' Llama, so what makes that quick knows them, and they do its operations: logits have the same
bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from treereason.engine.attention.interface import AttentionStep
from treereason.kernels.options import AttentionOptions
from treereason.kernels.rotation import rotated

Rotation = tuple[torch.Tensor, torch.Tensor]
"""Cosines and sines of each row's angles: [1, N, D] each, both halves of a head."""


@dataclass(frozen=True)
class LlamaSizes:
    """The values of a config.json that decide what is computed, under its names."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope_theta: float
    eos_token_id: int

    def get_text_config(self) -> LlamaSizes:
        return self

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> LlamaSizes:
        """From the content of a config.json. Raises KeyError where it lacks a value."""
        given = {**config, "rope_theta": config["rope_parameters"]["rope_theta"]}
        return cls(**{field.name: given[field.name] for field in fields(cls)})


class RMSNorm(nn.Module):
    """Root mean square normalisation, computed in float32."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = x.to(torch.float32)
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


class Attention(nn.Module):
    """Projections and rotation; `step` attends."""

    def __init__(self, sizes: LlamaSizes, layer: int) -> None:
        super().__init__()
        self.layer_idx = layer
        self.head_dim = sizes.head_dim
        self.scaling = sizes.head_dim**-0.5
        width, kv_width = sizes.num_attention_heads * sizes.head_dim, sizes.num_key_value_heads * sizes.head_dim
        self.q_proj = nn.Linear(sizes.hidden_size, width, bias=False)
        self.k_proj = nn.Linear(sizes.hidden_size, kv_width, bias=False)
        self.v_proj = nn.Linear(sizes.hidden_size, kv_width, bias=False)
        self.o_proj = nn.Linear(width, sizes.hidden_size, bias=False)

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: Rotation,
        step: AttentionStep,
        attention_mask: None = None,  # noqa: ARG002
    ) -> tuple[torch.Tensor, None]:
        projected = (project(hidden_states)[0] for project in (self.q_proj, self.k_proj, self.v_proj))
        query, key, value = (each.unflatten(-1, (-1, self.head_dim)) for each in projected)  # [N, H, D]
        cos, sin = (angles[0] for angles in position_embeddings)
        query, key = rotated(query, cos, sin), rotated(key, cos, sin)
        out = step.attend(self.layer_idx, query, key, value, AttentionOptions(scale=self.scaling))
        return self.o_proj(out.flatten(-2)[None]), None


class MLP(nn.Module):
    """down(silu(gate) * up)."""

    def __init__(self, sizes: LlamaSizes) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(sizes.hidden_size, sizes.intermediate_size, bias=False)
        self.up_proj = nn.Linear(sizes.hidden_size, sizes.intermediate_size, bias=False)
        self.down_proj = nn.Linear(sizes.intermediate_size, sizes.hidden_size, bias=False)
        self.act_fn = nn.SiLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))
        return out


class DecoderLayer(nn.Module):
    """Attention and MLP, each behind a norm and added to what came in."""

    def __init__(self, sizes: LlamaSizes, layer: int) -> None:
        super().__init__()
        self.self_attn = Attention(sizes, layer)
        self.mlp = MLP(sizes)
        self.input_layernorm = RMSNorm(sizes.hidden_size, sizes.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(sizes.hidden_size, sizes.rms_norm_eps)

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: Rotation,
        step: AttentionStep,
        attention_mask: None = None,  # noqa: ARG002
    ) -> torch.Tensor:
        normed = self.input_layernorm(hidden_states)
        attended, _ = self.self_attn(hidden_states=normed, position_embeddings=position_embeddings, step=step)
        total = hidden_states + attended
        out: torch.Tensor = total + self.mlp(self.post_attention_layernorm(total))
        return out


class Trunk(nn.Module):
    """All but the head."""

    def __init__(self, sizes: LlamaSizes) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(sizes.vocab_size, sizes.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(sizes, layer) for layer in range(sizes.num_hidden_layers))
        self.norm = RMSNorm(sizes.hidden_size, sizes.rms_norm_eps)
        halves = torch.arange(0, sizes.head_dim, 2, dtype=torch.float) / sizes.head_dim
        self.frequencies = 1.0 / sizes.rope_theta**halves  # no buffer: stays float32 in a model of another dtype

    def forward(self, input_ids: torch.Tensor, position_ids: torch.Tensor, step: AttentionStep) -> torch.Tensor:
        x: torch.Tensor = self.embed_tokens(input_ids)
        rotation = self.rotary_emb(x, position_ids)
        for layer in self.layers:
            x = layer(x, position_embeddings=rotation, step=step)
        out: torch.Tensor = self.norm(x)
        return out

    def rotary_emb(self, x: torch.Tensor, position_ids: torch.Tensor) -> Rotation:
        """Of positions [1, N], in the dtype of x."""
        angles = position_ids[..., None].float() * self.frequencies
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


class Llama(nn.Module):
    """Called as transformers' networks are, for one packed row of tokens on a step of the engine."""

    def __init__(self, sizes: LlamaSizes) -> None:
        super().__init__()
        self.config = sizes
        self.model = Trunk(sizes)
        self.lm_head = nn.Linear(sizes.hidden_size, sizes.vocab_size, bias=False)
        self.lm_head.weight = self.model.embed_tokens.weight

    @property
    def dtype(self) -> torch.dtype:
        return self.lm_head.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.lm_head.weight.device

    def forward(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        step: AttentionStep,
        logits_to_keep: torch.Tensor | None = None,
        use_cache: bool = False,
    ) -> SimpleNamespace:
        """`logits`: [1, N, V], or of the rows `logits_to_keep` alone. input_ids, position_ids: [1, N] int64."""
        assert not use_cache
        hidden = self.model(input_ids, position_ids, step)
        kept = hidden if logits_to_keep is None else hidden[:, logits_to_keep]
        return SimpleNamespace(logits=self.lm_head(kept))
