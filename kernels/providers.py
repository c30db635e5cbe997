"""Every implementation of tree attention by name, behind one interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

from treereason.kernels.deft_flatten import DeftFlatten
from treereason.kernels.deft_node import DeftNode
from treereason.kernels.deft_node_chunk import DeftNodeChunk
from treereason.kernels.plan import Plan
from treereason.kernels.reference import reference_attention
from treereason.kernels.sequence import Sequence
from treereason.kernels.torch_path import TorchPath
from treereason.kernels.tree_decode import TreeDecode
from treereason.kernels.tree_extend import TreeExtend


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


TRITON: dict[str, Callable[..., Attention]] = {
    "tree_decode": TreeDecode,
    "tree_extend": TreeExtend,
    "deft_node": DeftNode,
    "deft_node_chunk": DeftNodeChunk,
    "deft_flatten": DeftFlatten,
    "sequence": Sequence,
}
ON_TORCH: dict[str, Callable[[Plan], Attention]] = {"torch": TorchPath, "reference": _Reference}
PROVIDERS = (*TRITON, *ON_TORCH)


def prepare(
    name: str, plan: Plan, q: torch.Tensor, k: torch.Tensor, *, windows: tuple[int | None, ...] = (None,)
) -> Attention:
    """The named provider, planned for tensors of these shapes; call it once a layer."""
    if name in ON_TORCH:
        return ON_TORCH[name](plan)
    shape = {"num_heads": q.shape[1], "num_kv_heads": k.shape[1], "head_dim": q.shape[2]}
    if not name.startswith("deft"):  # DeFT's plan knows no window; its kernel masks
        return TRITON[name](plan, **shape, dtype=q.dtype, device=q.device, windows=windows)
    return TRITON[name](plan, **shape, dtype=q.dtype, device=q.device)


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
