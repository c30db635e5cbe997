"""One way to launch the attention kernels: a call binds all values by name, and each kernel takes those it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import triton

from treereason.kernels.gpu.tile import Tile, block_d, check_layout
from treereason.kernels.layer import LayerShape
from treereason.kernels.options import AttentionOptions


@dataclass(frozen=True)
class Launcher:
    """What all calls of one planned layer have in common. page_size: tokens per page."""

    shape: LayerShape
    page_size: int
    tile: Tile

    def bind(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        options: AttentionOptions,
        arrays: Mapping[str, torch.Tensor],
        *,
        num_partials: int = 0,
        padded: bool = False,
    ) -> Call:
        """A call on these tensors, shapes as in `PlannedAttention`; k and v may have any slot and head strides.

        arrays: the plan's int32 arrays on q's device. num_partials: partial results to allocate, each of a whole
        query tile per KV head. padded: q may have rows that no piece covers; out is 0 there.
        Raises ValueError where the elements of a head do not adjoin.
        """
        check_layout(q, k, v)
        empty = torch.zeros if padded else torch.empty
        out = empty(q.shape, dtype=q.dtype, device=q.device)
        lse = torch.empty(q.shape[:2], dtype=torch.float32, device=q.device)
        num_partial_rows = num_partials * self.shape.num_kv_heads * self.tile.block_m
        head_dim = q.shape[2]
        values = {
            **arrays,
            "q": q,
            "k": k,
            "v": v,
            "out": out,
            "lse": lse,
            "partial_out": torch.empty(num_partial_rows, head_dim, dtype=torch.float32, device=q.device),
            "partial_lse": torch.empty(num_partial_rows, dtype=torch.float32, device=q.device),
            "sinks": lse if options.sinks is None else options.sinks.float(),  # a pointer is asked for either way
            "stride_q": q.stride(0),
            "stride_qh": q.stride(1),
            "stride_k": k.stride(0),
            "stride_kh": k.stride(1),
            "stride_v": v.stride(0),
            "stride_vh": v.stride(1),
            "scale": options.scale,
            "window": options.window or 0,
            "softcap": options.softcap or 0.0,
            "G": self.shape.group_size,
            "D": head_dim,
            "PAGE": self.page_size,
            "BLOCK_M": self.tile.block_m,
            "BLOCK_N": self.tile.block_n,
            "BLOCK_D": block_d(head_dim),
            "WINDOW": options.window is not None,
            "SOFTCAP": options.softcap is not None,
            "SINKS": options.sinks is not None,
        }
        return Call(out, lse, values, self)


@dataclass(frozen=True)
class Call:
    """One attention call: the outputs its kernels write, and the values they read, by the name of their parameter.

    out: [N, Hq, D] in q's dtype. lse: [N, Hq] float32, natural log.
    """

    out: torch.Tensor
    lse: torch.Tensor
    values: Mapping[str, Any]
    launcher: Launcher

    def launch(self, kernel: triton.JITFunction, grid: tuple[int, ...], **more: int) -> None:
        """Launches a kernel. more: constants that only this kernel has, and the compiler's options."""
        values = {name: self.values[name] for name in kernel.arg_names if name not in more}
        kernel[grid](**values, **more)
