"""torch's own attention on the same plans: dense with a mask, and FlexAttention.

Keys and values are gathered into the layout it likes before the clock starts, which favours it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from treereason.kernels.plan import Plan

Run = Callable[[], torch.Tensor]


def _flat(plan: Plan, device: torch.device) -> dict[str, torch.Tensor]:
    """Slots, positions and row intervals of all tokens that some row may see, [T] each."""
    nodes = [n for n in range(plan.num_nodes) if plan.node_tokens[n] and plan.node_hi[n] > plan.node_lo[n]]
    counts = plan.node_tokens[nodes]
    arrays = {
        "slot": np.concatenate([plan.slots(n) for n in nodes]),
        "position": np.concatenate([plan.node_start[n] + np.arange(plan.node_tokens[n]) for n in nodes]),
        "lo": np.repeat(plan.node_lo[nodes], counts),
        "hi": np.repeat(plan.node_hi[nodes], counts),
    }
    return {name: torch.from_numpy(np.ascontiguousarray(a)).to(device).long() for name, a in arrays.items()}


def _row_position(plan: Plan, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(plan.row_position).to(device).long()


def sdpa(plan: Plan, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> Run:
    """torch's scaled_dot_product_attention over all tokens with a dense mask."""
    flat = _flat(plan, q.device)
    row = torch.arange(plan.num_rows, device=q.device)[:, None]
    mask = (flat["lo"] <= row) & (row < flat["hi"]) & (flat["position"] <= _row_position(plan, q.device)[:, None])
    queries, keys, values = (t.transpose(0, 1)[None].contiguous() for t in (q, k[flat["slot"]], v[flat["slot"]]))

    def run() -> torch.Tensor:
        out = torch.nn.functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, scale=scale, enable_gqa=True
        )
        return out[0].transpose(0, 1)

    return run


def flex(plan: Plan, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> Run:
    """torch's FlexAttention with the interval rule as its mask; blocks that no row sees are skipped."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    flat = _flat(plan, q.device)
    row_position = _row_position(plan, q.device)
    queries, keys, values = (t.transpose(0, 1)[None].contiguous() for t in (q, k[flat["slot"]], v[flat["slot"]]))

    def visible(_b: torch.Tensor, _h: torch.Tensor, row: torch.Tensor, token: torch.Tensor) -> torch.Tensor:
        below = (flat["lo"][token] <= row) & (row < flat["hi"][token])
        return below & (flat["position"][token] <= row_position[row])

    mask = create_block_mask(visible, None, None, plan.num_rows, len(flat["slot"]), device=str(q.device))
    compiled = torch.compile(flex_attention, dynamic=False) if q.is_cuda else flex_attention

    def run() -> torch.Tensor:
        out: torch.Tensor = compiled(queries, keys, values, block_mask=mask, scale=scale, enable_gqa=True)
        return out[0].transpose(0, 1)

    return run
