"""Every implementation of tree attention by name, behind one interface."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from treereason.kernels.baselines.groups import CUTS
from treereason.kernels.cpu.torch_backend import TorchBackend
from treereason.kernels.layer import LayerShape
from treereason.kernels.options import AttentionOptions, PlannedAttention
from treereason.kernels.plan import Plan
from treereason.kernels.reference import reference_attention

ON_TORCH: dict[str, Callable[[Plan], PlannedAttention]] = {
    "torch": TorchBackend,
    "reference": lambda plan: partial(reference_attention, plan),
}
TRITON = ("tree_decode", "tree_extend", "sequence", *CUTS)
PROVIDERS = (*TRITON, *ON_TORCH)


def prepare(
    name: str, plan: Plan, q: torch.Tensor, k: torch.Tensor, *, windows: tuple[int | None, ...] = (None,)
) -> PlannedAttention:
    """The named provider, planned for tensors of these shapes, dtype and device; call it once per layer.

    name: one of PROVIDERS. q: [N, Hq, D]. k: [num_slots, Hkv, D].
    windows: every `AttentionOptions.window` that will be asked for.
    Raises ValueError for another name and where the query heads of a KV head do not fit a query tile, and
    ModuleNotFoundError where a kernel needs Triton and it is not installed.
    """
    if name not in PROVIDERS:
        raise ValueError(f"no attention provider named {name!r}; there are {', '.join(PROVIDERS)}")
    if name in ON_TORCH:
        return ON_TORCH[name](plan)
    # Imported here: without Triton the torch providers still work.
    from treereason.kernels.baselines.deft import Deft
    from treereason.kernels.baselines.sequence import Sequence
    from treereason.kernels.gpu.tree_decode import TreeDecode
    from treereason.kernels.gpu.tree_extend import TreeExtend

    shape = LayerShape.of(q, k)
    if name in CUTS:
        return Deft(plan, shape, q.device, cut=CUTS[name])
    kernels: dict[str, Callable[..., PlannedAttention]] = {
        "tree_decode": TreeDecode,
        "tree_extend": TreeExtend,
        "sequence": Sequence,
    }
    return kernels[name](plan, shape, q.device, windows=windows)


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
