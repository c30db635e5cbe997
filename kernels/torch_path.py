"""Tree attention on plain torch operations: each node is read once for all rows below it.

Per node a partial attention with its log-sum-exp, then an exact merge over the nodes of each row's path
(DeFT, arXiv 2404.00242, section 3). Small nodes of similar shape share one padded matrix product, long
contiguous ones are read in place, so the number of torch calls does not grow with the number of branches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from treereason.kernels.plan import Int32, Plan


@dataclass(frozen=True)
class _Group:
    """Nodes attended together. M nodes, padded to R rows and n tokens.

    rows: [M, R] row indices, or a slice when M is 1. slots: [M, n] likewise, a slice when contiguous.
    age: [M, R, n] row position - token position; negative where causality or padding hides the token.
    causal: whether any age is negative. max_age: a window larger than this hides nothing.
    """

    rows: torch.Tensor | slice
    slots: torch.Tensor | slice
    shape: tuple[int, int, int]
    age: torch.Tensor
    causal: bool
    max_age: int


class TorchPath:
    """A plan made ready for torch; built once a step, called once a layer."""

    def __init__(self, plan: Plan) -> None:
        self._num_rows = plan.num_rows
        num_below = plan.node_hi - plan.node_lo
        members: dict[tuple[int, int], list[int]] = {}
        for node in np.flatnonzero((num_below > 0) & (plan.node_tokens > 0)).tolist():
            rows, tokens = _coarse(int(num_below[node])), _coarse(int(plan.node_tokens[node]))
            alone = rows * tokens > 4096
            members.setdefault((-node - 1, 0) if alone else (rows, tokens), []).append(node)
        self._groups: list[_Group] = []
        partial_rows: list[Int32] = []
        for nodes in members.values():
            group, rows_of = _make_group(plan, nodes)
            self._groups.append(group)
            partial_rows.append(rows_of)
        self._merge = _merge_table(np.concatenate(partial_rows), plan.num_rows)

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
        """Shapes and meaning as in `reference_attention`."""
        num_rows, num_heads, head_dim = q.shape
        num_kv_heads = k.shape[1]
        outs: list[torch.Tensor] = []
        lses: list[torch.Tensor] = []
        q_heads = q.view(num_rows, num_kv_heads, num_heads // num_kv_heads, head_dim)
        for group in self._groups:
            out, lse = _partial(group, q_heads, k, v, scale, window, softcap)
            outs.append(out.reshape(-1, num_heads, head_dim))
            lses.append(lse.reshape(-1, num_heads))
        out_all = torch.cat(outs)  # [M, Hq, D]
        lse_all = torch.cat(lses)  # [M, Hq]
        index, present = self._merge
        lse_path = lse_all[index].masked_fill(~present[..., None], float("-inf"))  # [N, path, Hq]
        lse = lse_path.logsumexp(dim=1)
        if sinks is not None:
            lse = torch.logaddexp(lse, sinks.float())
        weight = torch.exp(lse_path - lse[:, None])
        out = (weight[..., None] * out_all[index]).sum(dim=1)
        return out.to(q.dtype), lse


def _coarse(count: int) -> int:
    """The next of 1, 4, 16, 64, ...: nodes of like size share a group."""
    size = 1
    while size < count:
        size *= 4
    return size


def _make_group(plan: Plan, nodes: list[int]) -> tuple[_Group, Int32]:
    """The group, and [M * R] the row of each of its partial results (-1 for padding)."""
    lo, tokens = plan.node_lo[nodes], plan.node_tokens[nodes]
    num_below = plan.node_hi[nodes] - lo
    num_rows, num_tokens = int(num_below.max()), int(tokens.max())
    rank = np.arange(num_rows, dtype=np.int32)
    real_row = rank < num_below[:, None]  # [M, R]
    rows = np.where(real_row, lo[:, None] + rank, lo[:, None])
    offset = np.arange(num_tokens, dtype=np.int32)
    age = plan.row_position[rows][:, :, None] - (plan.node_start[nodes][:, None] + offset)[:, None, :]
    real_token = offset < tokens[:, None]
    age = np.where(real_token[:, None, :], age, -1)
    slots = np.empty((len(nodes), num_tokens), dtype=np.int64)
    for i, node in enumerate(nodes):
        own = plan.slots(node)
        slots[i, : tokens[i]] = own
        slots[i, tokens[i] :] = own[0]  # padding reads a stored token: a weight of 0 times garbage may be NaN
    contiguous = len(nodes) == 1 and bool((np.diff(slots[0]) == 1).all())
    group = _Group(
        rows=slice(int(lo[0]), int(lo[0]) + num_rows) if len(nodes) == 1 else torch.from_numpy(rows).long(),
        slots=slice(int(slots[0, 0]), int(slots[0, 0]) + num_tokens) if contiguous else torch.from_numpy(slots),
        shape=(len(nodes), num_rows, num_tokens),
        age=torch.from_numpy(age),
        causal=bool((age < 0).any()),
        max_age=int(age.max()),
    )
    return group, np.where(real_row, rows, -1).reshape(-1).astype(np.int32)


def _merge_table(partial_row: Int32, num_rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """For every row the partial results of its path, [N, longest path] padded with 0, and which are present."""
    real = np.flatnonzero(partial_row >= 0)
    order = real[np.argsort(partial_row[real], kind="stable")]
    row = partial_row[order]
    count = np.bincount(row, minlength=num_rows)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    index = np.zeros((num_rows, int(count.max())), dtype=np.int64)
    present = np.zeros(index.shape, dtype=bool)
    index[row, rank] = order
    present[row, rank] = True
    return torch.from_numpy(index), torch.from_numpy(present)


def _partial(
    group: _Group,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float,
    window: int | None,
    softcap: float | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention of a group's rows over its nodes alone. q: [N, Hkv, G, D].

    Returns out [M, R, Hkv, G, D] and lse [M, R, Hkv, G], float32; a row that sees nothing has out 0, lse -inf.
    """
    num_nodes, num_rows, num_tokens = group.shape
    num_kv_heads, num_groups, head_dim = q.shape[1:]
    # [M * Hkv, R * G, D]: the query heads of one KV head lie in one tile, so KV is read once for all of them.
    queries = (
        q[group.rows]
        .view(num_nodes, num_rows, num_kv_heads, num_groups, head_dim)
        .permute(0, 2, 1, 3, 4)
        .reshape(num_nodes * num_kv_heads, num_rows * num_groups, head_dim)
    )
    keys, values = (_read(pool, group) for pool in (k, v))  # [M * Hkv, n, D]
    scores = torch.bmm(queries, keys.transpose(1, 2)).float() * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.view(num_nodes, num_kv_heads, num_rows, num_groups, num_tokens)
    windowed = window is not None and group.max_age >= window
    if group.causal or windowed:
        hidden = group.age < 0
        if window is not None:
            hidden |= group.age >= window
        scores = scores.masked_fill(hidden[:, None, :, None, :], float("-inf"))
    lse = scores.logsumexp(dim=-1)
    weights = torch.exp(scores - lse.clamp_min(torch.finfo(torch.float32).min)[..., None])
    flat = weights.view(num_nodes * num_kv_heads, num_rows * num_groups, num_tokens).to(values.dtype)
    out = torch.bmm(flat, values).float().view(num_nodes, num_kv_heads, num_rows, num_groups, head_dim)
    return out.permute(0, 2, 1, 3, 4), lse.permute(0, 2, 1, 3)


def _read(pool: torch.Tensor, group: _Group) -> torch.Tensor:
    """The group's keys or values, [M * Hkv, n, D]; in place when one node lies contiguous."""
    if isinstance(group.slots, slice):
        return pool[group.slots].transpose(0, 1)
    num_nodes, _, num_tokens = group.shape
    gathered = pool.transpose(0, 1).index_select(1, group.slots.view(-1))  # [Hkv, M * n, D]
    num_kv_heads, _, head_dim = gathered.shape
    return (
        gathered.view(num_kv_heads, num_nodes, num_tokens, head_dim)
        .transpose(0, 1)
        .reshape(num_nodes * num_kv_heads, num_tokens, head_dim)
    )
