"""FlashInfer on the same plans: every path a sequence, or its cascade over the levels of the tree.

It knows no pages that are partly filled inside a path, so it is given pages of one token, copied into the layout it
likes before the clock starts. Written for its interface of 0.2 to 0.7.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.plan_paths import path, row_slots, visible_slots
from treereason.kernels.plan import Plan

Run = Callable[[], torch.Tensor]


def flashinfer_decode(plan: Plan, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> Run:
    """FlashInfer's paged decode, one sequence per row."""
    flashinfer = importlib.import_module("flashinfer")

    slots = [row_slots(plan, row) for row in range(plan.num_rows)]
    indptr = np.concatenate([[0], np.cumsum([len(s) for s in slots])])
    wrapper = flashinfer.BatchDecodeWithPagedKVCacheWrapper(_workspace(q.device), "NHD", use_tensor_cores=True)
    wrapper.plan(
        _i32(indptr, q.device),
        _i32(np.concatenate(slots), q.device),
        torch.ones(plan.num_rows, dtype=torch.int32, device=q.device),
        q.shape[1],
        k.shape[1],
        q.shape[2],
        1,
        q_data_type=q.dtype,
        kv_data_type=k.dtype,
        sm_scale=scale,
    )
    cache = (k.contiguous()[:, None], v.contiguous()[:, None])
    return lambda: wrapper.run(q, cache)


def flashinfer_cascade(plan: Plan, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> Run:
    """FlashInfer's cascade: one level per depth of the tree, shared nodes read once. Decode plans only."""
    flashinfer = importlib.import_module("flashinfer")

    if plan.num_rows != int((plan.node_hi - plan.node_lo == 1).sum()):
        raise ValueError("cascade is given decode plans only, one row a leaf")
    paths = [path(plan, row) for row in range(plan.num_rows)]
    depth = max(map(len, paths))
    rows, indptr, indices = [], [], []
    for level in range(depth):
        # Entries are nodes of this depth; rows whose path is shorter have an entry without tokens.
        at = [nodes[level] if len(nodes) > level else -1 - row for row, nodes in enumerate(paths)]
        starts = [row for row in range(len(at)) if row == 0 or at[row] != at[row - 1]]
        slots = [visible_slots(plan, at[s], s) if at[s] >= 0 else np.empty(0, np.int32) for s in starts]
        rows.append(_i32([*starts, plan.num_rows], q.device))
        indptr.append(_i32(np.concatenate([[0], np.cumsum([len(s) for s in slots])]), q.device))
        indices.append(_i32(np.concatenate(slots), q.device))
    wrapper = flashinfer.MultiLevelCascadeAttentionWrapper(depth, _workspace(q.device), "NHD")
    wrapper.plan(
        rows,
        indptr,
        indices,
        [torch.ones(len(p) - 1, dtype=torch.int32, device=q.device) for p in indptr],
        q.shape[1],
        k.shape[1],
        q.shape[2],
        1,
        sm_scale=scale,
        q_data_type=q.dtype,
    )
    cache = (k.contiguous()[:, None], v.contiguous()[:, None])
    return lambda: wrapper.run(q, cache)


def _workspace(device: torch.device) -> torch.Tensor:
    return torch.empty(256 << 20, dtype=torch.uint8, device=device)


def _i32(values: object, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.int32)).to(device)
