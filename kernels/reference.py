"""Tree attention by its definition: one dense mask, float32. All others are tested against it."""

from __future__ import annotations

import numpy as np
import torch

from treereason.kernels.options import AttentionOptions
from treereason.kernels.plan import Plan


def reference_attention(
    plan: Plan,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    options: AttentionOptions,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention of every row over its own branch; shapes and meaning as in `PlannedAttention`."""
    window, softcap, sinks = options.window, options.softcap, options.sinks
    group_size = q.shape[1] // k.shape[1]
    nodes = [node for node in range(plan.num_nodes) if plan.node_tokens[node]]
    counts = plan.node_tokens[nodes]
    slots = torch.from_numpy(np.concatenate([plan.slots(node) for node in nodes])).long()
    position = torch.from_numpy(np.concatenate([plan.node_start[n] + np.arange(plan.node_tokens[n]) for n in nodes]))
    lo, hi = (torch.from_numpy(np.repeat(a[nodes], counts)) for a in (plan.node_lo, plan.node_hi))
    row = torch.arange(plan.num_rows)[:, None]
    row_position = torch.from_numpy(plan.row_position)[:, None]
    visible = (lo <= row) & (row < hi) & (position <= row_position)  # [N, T]
    if window is not None:
        visible &= row_position - position < window

    slots, visible = slots.to(q.device), visible.to(q.device)
    keys = k[slots].float().repeat_interleave(group_size, dim=1)  # [T, Hq, D]
    values = v[slots].float().repeat_interleave(group_size, dim=1)
    scores = torch.einsum("nhd,thd->nht", q.float(), keys) * options.scale  # [N, Hq, T]
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.masked_fill(~visible[:, None], float("-inf"))
    lse = scores.logsumexp(dim=-1)
    if sinks is not None:
        lse = torch.logaddexp(lse, sinks.float())
    out = torch.einsum("nht,thd->nhd", torch.exp(scores - lse[..., None]), values)
    return out.to(q.dtype), lse
