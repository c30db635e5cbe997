"""Attention that other projects offer, on the same plans: torch's dense and flexible attention, and FlashInfer.

Each gets its keys and values in the layout it likes before the clock starts, which favours it. FlashInfer knows no
pages that are partly filled inside a path, so it is given pages of one token.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable

import numpy as np
import torch

from treereason.kernels.plan import Int32, Plan

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


def _path(plan: Plan, row: int) -> list[int]:
    """Nodes above and at a row, from the root."""
    above = (plan.node_lo <= row) & (row < plan.node_hi) & (plan.node_tokens > 0)
    path: list[int] = np.flatnonzero(above).tolist()
    return path


def _visible(plan: Plan, node: int, row: int) -> Int32:
    return plan.slots(node)[: plan.row_position[row] - plan.node_start[node] + 1]


def row_slots(plan: Plan, row: int) -> Int32:
    """Slots of all tokens a row sees, from the root."""
    return np.concatenate([_visible(plan, node, row) for node in _path(plan, row)])


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
    paths = [_path(plan, row) for row in range(plan.num_rows)]
    depth = max(len(path) for path in paths)
    rows, indptr, indices = [], [], []
    for level in range(depth):
        # Entries are nodes of this depth; rows whose path is shorter have an entry without tokens.
        at = [path[level] if len(path) > level else -1 - row for row, path in enumerate(paths)]
        starts = [row for row in range(len(at)) if row == 0 or at[row] != at[row - 1]]
        slots = [_visible(plan, at[s], s) if at[s] >= 0 else np.empty(0, np.int32) for s in starts]
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


OTHERS: dict[str, Callable[[Plan, torch.Tensor, torch.Tensor, torch.Tensor, float], Run]] = {"sdpa": sdpa, "flex": flex}
if importlib.util.find_spec("flashinfer"):
    OTHERS |= {"flashinfer_decode": flashinfer_decode, "flashinfer_cascade": flashinfer_cascade}
