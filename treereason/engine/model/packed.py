"""Linear layers of a CPU model with their weights in another order: decoding a few rows then takes less time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from treereason.kernels.cpu.linear import can_pack, linear, pack_weight


class PackedLinear(nn.Linear):
    """As nn.Linear, of which only `packed` has memory: `weight` keeps its shape, and all its values are NaN.

    packed: in oneDNN's own order.
    """

    packed: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")
        return out


class CompiledLinear(PackedLinear):
    """The same in the order of the compiled kernel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return linear(x, self.packed, self.bias, self.out_features)


def pack_linears(network: nn.Module, *, compiled: bool = False) -> None:
    """Turn the network's linear layers into packed ones where that is possible: float32 and bfloat16 on a CPU.

    compiled: for the compiled kernel rather than for oneDNN. For inference only, and for good: the weights cannot be
    saved, trained or moved afterwards.
    """
    for module in network.modules():
        weight: Any = getattr(module, "weight", None)
        if type(module) is not nn.Linear or weight.device.type != "cpu":
            continue
        if compiled and can_pack(weight):
            module.__class__, packed = CompiledLinear, pack_weight(weight.detach())
        elif _onednn_takes(weight.dtype):
            module.__class__, packed = PackedLinear, torch.ops.mkldnn._reorder_linear_weight(weight.detach(), None)
        else:
            continue
        module.packed = packed
        hollow = torch.full((1, 1), float("nan"), dtype=weight.dtype).expand(weight.shape)
        module.weight = nn.Parameter(hollow, requires_grad=False)


def _onednn_takes(dtype: torch.dtype) -> bool:
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    bfloat16 = dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype == torch.float32 or bool(bfloat16)


class LinearPart(nn.Module):
    """Some of the outputs of a linear layer that was joined from several of one input."""

    def __init__(self, whole: nn.Linear, outputs: slice) -> None:
        super().__init__()
        self.whole = whole
        self.outputs = outputs

    @property
    def num_outputs(self) -> int:
        """Of this part."""
        size: int = self.outputs.stop - self.outputs.start
        return size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.whole(x)[..., self.outputs]
        return out


def join_linears(parent: nn.Module, *names: str) -> None:
    """Turn linear layers of one input into parts of one product: fewer calls, and larger ones.

    Nothing is done where one of them is not a plain linear layer, or only some have a bias.
    """
    found = [getattr(parent, name) for name in names]
    if any(type(linear) is not nn.Linear for linear in found) or len({linear.bias is None for linear in found}) > 1:
        return
    sizes = [linear.out_features for linear in found]
    with torch.device("meta"):
        whole = nn.Linear(found[0].in_features, sum(sizes), bias=found[0].bias is not None)
    whole.weight = nn.Parameter(torch.cat([linear.weight.detach() for linear in found]), requires_grad=False)
    if found[0].bias is not None:
        whole.bias = nn.Parameter(torch.cat([linear.bias.detach() for linear in found]), requires_grad=False)
    first = 0
    for name, size in zip(names, sizes, strict=True):
        setattr(parent, name, LinearPart(whole, slice(first, first + size)))
        first += size


def outputs(x: torch.Tensor, linears: Sequence[nn.Module]) -> list[torch.Tensor]:
    """What linear layers make of x [..., in]; those that are parts of one layer share its product."""
    parts = [linear for linear in linears if isinstance(linear, LinearPart)]
    if len(parts) < len(linears) or any(part.whole is not parts[0].whole for part in parts):
        return [linear(x) for linear in linears]
    out = parts[0].whole(x)
    return [out[..., part.outputs] for part in parts]
