"""The kernels behind fused modules, on a GPU or a CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from treereason.kernels.norm_form import NormForm

Rotate = Callable[
    [torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
    tuple[torch.Tensor, torch.Tensor, torch.Tensor],
]


@dataclass(frozen=True)
class FusedKernels:
    """Shapes and meaning as in kernels/gpu/rms_norm.py and kernels/gpu/silu_mul.py.

    rotate: of q [N, Hq, D], k and v [N, Hkv, D], cosines and sines [N, D]: q and k rotated, and v, as attention gets
        them.
    """

    rms_norm: Callable[[torch.Tensor, torch.Tensor, float, NormForm], torch.Tensor]
    add_rms_norm: Callable[
        [torch.Tensor, torch.Tensor, torch.Tensor, float, NormForm], tuple[torch.Tensor, torch.Tensor]
    ]
    silu_mul: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    rotate: Rotate


def gpu_kernels() -> FusedKernels:
    """Needs Triton."""
    from treereason.kernels.gpu.rms_norm import add_rms_norm, rms_norm
    from treereason.kernels.gpu.rope_store import rope_store
    from treereason.kernels.gpu.silu_mul import silu_mul

    def rotate(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        keys, values = torch.empty_like(k), torch.empty_like(v)
        return rope_store(q, k, v, cos, sin, keys, values, torch.arange(len(k), device=k.device)), keys, values

    return FusedKernels(rms_norm, add_rms_norm, silu_mul, rotate)


def cpu_kernels() -> FusedKernels:
    """Needs the compiled functions of kernels/cpu; they rotate inside attention, which the self-check compares."""
    from treereason.kernels.cpu.fused import add_rms_norm, rms_norm, silu_mul
    from treereason.kernels.rotation import rotated

    def rotate(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return rotated(q, cos, sin), rotated(k, cos, sin), v

    return FusedKernels(rms_norm, add_rms_norm, silu_mul, rotate)
