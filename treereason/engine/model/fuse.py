"""Puts fused modules in the place of those of a loaded network, after each has shown that it computes the same.

A new version of transformers may do something else under an old name, and a kernel may fail on a card: both are found
here, and the original stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from treereason.engine.model.fused_kernels import FusedKernels
from treereason.engine.model.fused_modules import KINDS, FusedNorm, fused
from treereason.kernels.options import AttentionOptions
from treereason.text import one_line

NUM_ROWS = 3  # of random numbers, on which a module is compared with what replaces it
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}
"""Largest allowed difference from the original's output, root mean squares; two roundings of the dtype."""


@dataclass
class Fusion:
    """What became of a network. counts: replaced modules by kind. kept: which known classes stay, and why."""

    counts: dict[str, int] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return ", ".join(f"{count} {kind}" for kind, count in self.counts.items()) or "none"


@torch.inference_mode()
def fuse(network: Any, kernels: FusedKernels) -> Fusion:
    """Replace all modules that are known, for inference only. network: of transformers, its attention the tree's.

    If one module of a class computes otherwise than its original, all of the class stay as they are.
    """
    fusion = Fusion()
    for base, kind in KINDS.items():
        by_class: dict[type[nn.Module], list[nn.Module]] = {}
        for module in network.modules():
            replacement = fused(module, kernels)
            # Some packages put a call of their own into the module itself.
            if replacement is not None and issubclass(replacement, base) and "forward" not in vars(module):
                by_class.setdefault(type(module), []).append(module)
        for original, modules in by_class.items():
            reason = _replace(modules, network, kernels)
            if reason:
                for module in modules:
                    module.__class__ = original
                fusion.kept.append(f"{original.__name__} stays: {reason}")
            else:
                fusion.counts[kind] = fusion.counts.get(kind, 0) + len(modules)
    return fusion


def _replace(modules: list[nn.Module], network: Any, kernels: FusedKernels) -> str:
    """Replace modules until one computes otherwise than before. Returns how, "" if none does."""
    for module in modules:
        try:
            call = _call(module, network, kernels)
            want = call()
            replacement = fused(module, kernels)
            assert replacement is not None
            module.__class__ = replacement
            error = max(_error(*pair) for pair in zip(call(), want, strict=True))
        except Exception as failure:  # of any type: a kernel fails in Triton, in a compiler or in the driver
            return f"{type(failure).__name__}: {one_line(failure)}"
        if not error <= TOLERANCE[network.dtype]:
            return f"its kernel differs by {error:.1e} of the output's size"
    return ""


def _error(got: torch.Tensor, want: torch.Tensor) -> float:
    if got.dtype != want.dtype or got.shape != want.shape:
        return math.inf
    return float((got.double() - want.double()).norm() / want.double().norm())


def _call(module: nn.Module, network: Any, kernels: FusedKernels) -> Callable[[], list[torch.Tensor]]:
    """What runs a module on a few random rows, always the same, and returns all that comes out of it."""
    width = network.config.get_text_config().hidden_size
    if issubclass(fused(module, kernels) or nn.Module, FusedNorm):
        width = len(next(module.parameters()))
    generator = torch.Generator().manual_seed(0)

    def random(num_columns: int) -> torch.Tensor:
        return torch.randn(1, NUM_ROWS, num_columns, generator=generator).to(network.device, network.dtype)

    rows = random(width)
    attention: Any = getattr(module, "self_attn", module)
    if not hasattr(attention, "o_proj"):
        return lambda: [module(rows)]
    rotation = random(attention.head_dim), random(attention.head_dim)

    def attend() -> list[torch.Tensor]:
        step = _Witness(kernels)
        out = module(hidden_states=rows, attention_mask=None, position_embeddings=rotation, step=step)
        return [out[0] if isinstance(out, tuple) else out, *step.seen]

    return attend


class _Witness:
    """A step that keeps what attention is given, and gives back the queries. A `RotatingStep`."""

    def __init__(self, kernels: FusedKernels) -> None:
        self.seen: list[torch.Tensor] = []
        self._kernels = kernels

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, options: AttentionOptions
    ) -> torch.Tensor:
        numbers = [layer, options.scale, options.window or 0, options.softcap or 0, options.sinks is not None]
        self.seen += [query, key, value, torch.tensor(numbers, dtype=torch.float64)]
        return query.contiguous()

    def rotate_and_attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        rotation: tuple[torch.Tensor, torch.Tensor],
        options: AttentionOptions,
    ) -> torch.Tensor:
        return self.attend(layer, *self._kernels.rotate(query, key, value, *rotation), options)
