"""Modules of known models whose small operations are one kernel: norms, gates, rotations with the store of KV.

`fused` names the class that may take a module's, by its exact own: a subclass may do something else. The new class has
the old one as a base, where all goes that it does not know.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import nn

from treereason.engine.attention.interface import RotatingStep
from treereason.engine.model.fused_kernels import FusedKernels
from treereason.engine.model.packed import outputs
from treereason.kernels.norm_form import NormForm
from treereason.kernels.options import AttentionOptions

Window = Callable[[Any], int | None]


class FusedNorm(nn.Module):
    """A root mean square norm in one launch."""

    form: NormForm
    kernels: FusedKernels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.kernels.rms_norm(x, *self.numbers(), self.form)

    def numbers(self) -> tuple[torch.Tensor, float]:
        """Weight and epsilon; the latter has one of two names."""
        this: Any = self
        return this.weight, this.variance_epsilon if hasattr(self, "variance_epsilon") else this.eps


class FusedGate(nn.Module):
    """A feed-forward network whose activation and product are one launch."""

    kernels: FusedKernels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        this: Any = self
        out: torch.Tensor = this.down_proj(self.kernels.silu_mul(*outputs(x, [this.gate_proj, this.up_proj])))
        return out


class FusedAttention(nn.Module):
    """Attention whose step rotates queries and keys and stores KV in one launch; without such a step, the original."""

    window: Window

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        step, rotation = kwargs.get("step"), kwargs.get("position_embeddings")
        if args or rotation is None or not isinstance(step, RotatingStep):
            return super().forward(hidden_states, *args, **kwargs)
        this: Any = self
        [rows] = hidden_states
        projected = outputs(rows, [this.q_proj, this.k_proj, this.v_proj])
        q, k, v = (x.view(len(rows), -1, this.head_dim) for x in projected)
        if hasattr(self, "q_norm"):
            q, k = this.q_norm(q), this.k_norm(k)
        [cos], [sin] = rotation
        options = AttentionOptions(scale=this.scaling, window=this.window())
        out = step.rotate_and_attend(this.layer_idx, q, k, v, (cos, sin), options)
        return this.o_proj(out.reshape(1, len(rows), -1)), None


class FusedLayer(nn.Module):
    """A layer that adds its first residual and takes the norm of the sum in one launch."""

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if args:
            return super().forward(hidden_states, *args, **kwargs)
        this: Any = self
        norm: FusedNorm = this.post_attention_layernorm
        attended, _ = this.self_attn(hidden_states=this.input_layernorm(hidden_states), **kwargs)
        normed, total = norm.kernels.add_rms_norm(attended, hidden_states, *norm.numbers(), norm.form)
        return total + this.mlp(normed)


KINDS = {FusedNorm: "norms", FusedGate: "gates", FusedAttention: "rotations", FusedLayer: "residual sums"}
"""Names for reports, in the order in which modules are replaced: a layer after what it consists of."""


def fused(module: nn.Module, kernels: FusedKernels) -> type[nn.Module] | None:
    """The class that may take a module's, one of KINDS; None for a module that is not known."""
    this: Any = module
    original: Any = type(module)  # mypy finds classes of modules not hashable
    name = f"{original.__module__}.{original.__qualname__}"
    if name in NORMS:
        return _subclass(FusedNorm, original, kernels=kernels, form=NORMS[name])
    if name in GATES and type(this.act_fn).__name__ in {"SiLU", "SiLUActivation"}:
        return _subclass(FusedGate, original, kernels=kernels)
    if name in ATTENTIONS:
        return _subclass(FusedAttention, original, window=ATTENTIONS[name])
    if name in LAYERS and isinstance(this.post_attention_layernorm, FusedNorm):
        return _subclass(FusedLayer, original)
    return None


@cache
def _subclass(base: type[Any], original: type[Any], **attributes: Any) -> type[nn.Module]:
    return type(f"Fused{original.__name__}", (base, original), attributes)


def _classes(suffix: str, *models: str) -> list[str]:
    """Full names of classes, as transformers spells them, and of the shipped model's own."""
    own = f"treereason.engine.model.llama.{suffix}"
    return [own] * ("llama" in models) + [
        f"transformers.models.{model}.modeling_{model}.{_title(model)}{suffix}" for model in models
    ]


def _title(model: str) -> str:
    return "".join(part.capitalize() for part in model.split("_"))


def _no_window(_: Any) -> int | None:
    return None


def _window_of_config(module: Any) -> int | None:
    window: int | None = getattr(module.config, "sliding_window", None)
    return window


def _window_of_layer(module: Any) -> int | None:
    window: int | None = module.sliding_window
    return window


NORMS = {
    **dict.fromkeys(
        _classes("RMSNorm", "llama", "mistral", "mixtral", "qwen2", "qwen3", "granite", "phi3"), NormForm()
    ),
    **dict.fromkeys(_classes("RMSNorm", "olmo2", "gpt_oss"), NormForm(late_cast=True)),
    **dict.fromkeys(_classes("RMSNorm", "gemma2", "gemma3"), NormForm(late_cast=True, one_more=True)),
}
GATES = _classes("MLP", "llama", "mistral", "qwen2", "qwen3", "granite", "olmo2")
ATTENTIONS: dict[str, Window] = {
    **dict.fromkeys(_classes("Attention", "llama", "granite"), _no_window),
    **dict.fromkeys(_classes("Attention", "mistral", "mixtral"), _window_of_config),
    **dict.fromkeys(_classes("Attention", "qwen2", "qwen3"), _window_of_layer),
}
LAYERS = _classes("DecoderLayer", "llama", "mistral", "mixtral", "qwen2", "qwen3")
