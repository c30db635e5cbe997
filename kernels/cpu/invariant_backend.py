"""Tree attention whose result for a row has the same bits whatever other rows share the step.

Every row reads its own path, cut at multiples of SPLIT positions wherever the nodes begin and end. A split is one
matrix product of a fixed shape, and splits are merged one after the other (online softmax, arXiv 1805.02867). Nothing
depends on other rows and nothing is shared with them: this is the slow, repeatable way.
"""

from __future__ import annotations

import numpy as np
import torch

from treereason.kernels.options import AttentionOptions
from treereason.kernels.plan import Plan

SPLIT = 64


class InvariantBackend:
    """A plan made ready for torch; built once per step, called once per layer."""

    def __init__(self, plan: Plan) -> None:
        self._num_rows = plan.num_rows
        num_splits = int(plan.row_position.max()) // SPLIT + 1
        slots = np.zeros((plan.num_rows, num_splits * SPLIT), dtype=np.int64)
        seen = np.zeros(slots.shape, dtype=bool)
        for node in np.flatnonzero((plan.node_hi > plan.node_lo) & (plan.node_tokens > 0)).tolist():
            rows = slice(plan.node_lo[node], plan.node_hi[node])
            columns = slice(plan.node_start[node], min(plan.node_start[node] + plan.node_tokens[node], slots.shape[1]))
            slots[rows, columns] = plan.slots(node)[: columns.stop - columns.start]
            seen[rows, columns] = True
        age = plan.row_position[:, None] - np.arange(slots.shape[1], dtype=np.int32)
        slots[~seen] = np.broadcast_to(plan.row_slot[:, None], slots.shape)[~seen]  # a stored token, of weight 0
        self._slots = torch.from_numpy(slots)  # [N, splits * SPLIT]
        self._age = torch.from_numpy(np.where(seen, age, -1))

    def __call__(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, options: AttentionOptions
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shapes and meaning as in `PlannedAttention`."""
        num_rows, num_heads, head_dim = q.shape
        num_kv_heads = k.shape[1]
        group_size = num_heads // num_kv_heads
        queries = (q * options.scale).view(num_rows * num_kv_heads, group_size, head_dim)
        out = torch.zeros(num_rows * num_kv_heads, group_size, head_dim)
        largest = torch.full((num_rows * num_kv_heads, group_size), torch.finfo(torch.float32).min)
        total = torch.zeros(num_rows * num_kv_heads, group_size)
        for first in range(0, self._slots.shape[1], SPLIT):
            slots, age = self._slots[:, first : first + SPLIT], self._age[:, first : first + SPLIT]
            keys, values = (
                pool[slots].transpose(1, 2).reshape(num_rows * num_kv_heads, SPLIT, head_dim) for pool in (k, v)
            )
            scores = torch.bmm(queries, keys.transpose(1, 2)).float()  # [N * Hkv, G, SPLIT]
            if options.softcap is not None:
                scores = options.softcap * torch.tanh(scores / options.softcap)
            hidden = age < 0 if options.window is None else (age < 0) | (age >= options.window)
            scores.masked_fill_(hidden.repeat_interleave(num_kv_heads, dim=0)[:, None], float("-inf"))
            top = torch.maximum(largest, scores.amax(dim=-1))
            weights = torch.exp(scores - top[..., None])
            shrink = torch.exp(largest - top)
            total = total * shrink + weights.sum(dim=-1)
            out = out * shrink[..., None] + torch.bmm(weights.to(values.dtype), values).float()
            largest = top
        lse = (largest + total.log()).view(num_rows, num_heads)
        out = (out / total[..., None]).view(num_rows, num_heads, head_dim)
        if options.sinks is not None:
            with_sink = torch.logaddexp(lse, options.sinks.float())
            out = out * torch.exp(lse - with_sink)[..., None]
            lse = with_sink
        return out.to(q.dtype), lse
