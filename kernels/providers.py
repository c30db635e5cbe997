"""Every implementation of tree attention by name, behind one interface."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Protocol

import torch

from treereason.kernels.cpu.torch_backend import TorchBackend
from treereason.kernels.plan import Plan
from treereason.kernels.reference import reference_attention


class Attention(Protocol):
    """A planned step: q [N, Hq, D], k and v [num_slots, Hkv, D] to out [N, Hq, D] and lse [N, Hq] float32."""

    def __call__(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        *,
        scale: float,
        window: int | None = None,
        softcap: float | None = None,
        sinks: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]: ...


class _Reference:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def __call__(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        *,
        scale: float,
        window: int | None = None,
        softcap: float | None = None,
        sinks: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return reference_attention(q, k, v, self._plan, scale=scale, window=window, softcap=softcap, sinks=sinks)


# Modules by name rather than imported: without Triton the torch providers still work.
TRITON = {
    "tree_decode": ("gpu.tree_decode", "TreeDecode"),
    "tree_extend": ("gpu.tree_extend", "TreeExtend"),
    "deft_node": ("baselines.deft_node", "DeftNode"),
    "deft_node_chunk": ("baselines.deft_node_chunk", "DeftNodeChunk"),
    "deft_flatten": ("baselines.deft_flatten", "DeftFlatten"),
    "sequence": ("baselines.sequence", "Sequence"),
}
ON_TORCH: dict[str, Callable[[Plan], Attention]] = {"torch": TorchBackend, "reference": _Reference}
PROVIDERS = (*TRITON, *ON_TORCH)


def prepare(
    name: str, plan: Plan, q: torch.Tensor, k: torch.Tensor, *, windows: tuple[int | None, ...] = (None,)
) -> Attention:
    """The named provider, planned for tensors of these shapes; call it once a layer."""
    if name in ON_TORCH:
        return ON_TORCH[name](plan)
    module, class_name = TRITON[name]
    make: Callable[..., Attention] = getattr(import_module(f"treereason.kernels.{module}"), class_name)
    shape = {"num_heads": q.shape[1], "num_kv_heads": k.shape[1], "head_dim": q.shape[2]}
    if name.startswith("deft"):  # DeFT's plan knows no window; its kernel masks
        return make(plan, **shape, dtype=q.dtype, device=q.device)
    return make(plan, **shape, dtype=q.dtype, device=q.device, windows=windows)


def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    plan: Plan,
    *,
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
    sinks: torch.Tensor | None = None,
    provider: str = "torch",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Plans and attends at once; meaning as in `reference_attention`."""
    planned = prepare(provider, plan, q, k, windows=(window,))
    return planned(q, k, v, scale=scale, window=window, softcap=softcap, sinks=sinks)
