"""Every implementation of tree attention by name, behind one interface."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module

import torch

from treereason.kernels.cpu.torch_backend import TorchBackend
from treereason.kernels.options import AttentionOptions, PlannedAttention
from treereason.kernels.plan import Plan
from treereason.kernels.reference import reference_attention


def _reference(plan: Plan) -> PlannedAttention:
    return partial(reference_attention, plan)


# Modules by name rather than imported: without Triton the torch providers still work.
TRITON = {
    "tree_decode": ("gpu.tree_decode", "TreeDecode"),
    "tree_extend": ("gpu.tree_extend", "TreeExtend"),
    "deft_node": ("baselines.deft_node", "DeftNode"),
    "deft_node_chunk": ("baselines.deft_node_chunk", "DeftNodeChunk"),
    "deft_flatten": ("baselines.deft_flatten", "DeftFlatten"),
    "sequence": ("baselines.sequence", "Sequence"),
}
ON_TORCH: dict[str, Callable[[Plan], PlannedAttention]] = {"torch": TorchBackend, "reference": _reference}
PROVIDERS = (*TRITON, *ON_TORCH)


def prepare(
    name: str, plan: Plan, q: torch.Tensor, k: torch.Tensor, *, windows: tuple[int | None, ...] = (None,)
) -> PlannedAttention:
    """The named provider, planned for tensors of these shapes, dtype and device; call it once per layer.

    name: one of PROVIDERS. q: [N, Hq, D]. k: [num_slots, Hkv, D].
    windows: every `AttentionOptions.window` that will be asked for.
    Raises KeyError for a name that is none of PROVIDERS, ModuleNotFoundError where a kernel needs Triton and there is
    none, and ValueError where the Hq / Hkv query heads of a KV head do not fit a query tile.
    """
    if name in ON_TORCH:
        return ON_TORCH[name](plan)
    module, class_name = TRITON[name]
    make: Callable[..., PlannedAttention] = getattr(import_module(f"treereason.kernels.{module}"), class_name)
    shape = {"num_heads": q.shape[1], "num_kv_heads": k.shape[1], "head_dim": q.shape[2]}
    if name.startswith("deft"):  # DeFT's plan knows no window; its kernel masks
        return make(plan, **shape, dtype=q.dtype, device=q.device)
    return make(plan, **shape, dtype=q.dtype, device=q.device, windows=windows)


def attention(
    plan: Plan,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    options: AttentionOptions,
    *,
    provider: str = "torch",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Plans and attends at once; shapes and meaning as in `PlannedAttention`, errors as in `prepare`."""
    return prepare(provider, plan, q, k, windows=(options.window,))(q, k, v, options)
