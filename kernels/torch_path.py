"""Tree attention on plain torch operations: each node is read once for all rows below it.

Per node a partial attention with its log-sum-exp, then an exact merge over the nodes of each row's path
(DeFT, arXiv 2404.00242, section 3). Small nodes of similar shape share one padded matrix product, long
contiguous ones are read in place, so the number of torch calls does not grow with the number of branches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from treereason.kernels.plan import Int32, Plan

ROW_BLOCK = 64
ALONE = 4096


@dataclass(frozen=True)
class _Piece:
    """The first `num_tokens` tokens of a node, attended by rows [lo, hi)."""

    node: int
    lo: int
    hi: int
    num_tokens: int


@dataclass(frozen=True)
class _Group:
    """Pieces attended together. M pieces, padded to R rows and n tokens.

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
        members: dict[tuple[int, int], list[_Piece]] = {}
        for number, piece in enumerate(_pieces(plan)):
            rows, tokens = _coarse(piece.hi - piece.lo), _coarse(piece.num_tokens)
            alone = rows * tokens > ALONE
            members.setdefault((-number, 0) if alone else (rows, tokens), []).append(piece)
        self._groups: list[_Group] = []
        partial_rows: list[Int32] = []
        for pieces in members.values():
            group, rows_of = _make_group(plan, pieces)
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


def _pieces(plan: Plan) -> Iterator[_Piece]:
    """Every node once, or in blocks of rows without the tokens that come after all rows of the block."""
    lows, highs, tokens = plan.node_lo.tolist(), plan.node_hi.tolist(), plan.node_tokens.tolist()
    for node, start in enumerate(plan.node_start.tolist()):
        step = ROW_BLOCK if highs[node] - lows[node] > 2 * ROW_BLOCK else plan.num_rows
        for lo in range(lows[node], highs[node], step):
            hi = min(lo + step, highs[node])
            visible = tokens[node]
            if step == ROW_BLOCK:
                visible = min(visible, int(plan.row_position[lo:hi].max()) - start + 1)
            if visible > 0:
                yield _Piece(node, lo, hi, visible)


def _coarse(count: int) -> int:
    """The next of 1, 4, 16, 64, ...: nodes of like size share a group."""
    size = 1
    while size < count:
        size *= 4
    return size


def _make_group(plan: Plan, pieces: list[_Piece]) -> tuple[_Group, Int32]:
    """The group, and [M * R] the row of each of its partial results (-1 for padding)."""
    nodes = [piece.node for piece in pieces]
    lo = np.array([piece.lo for piece in pieces], dtype=np.int32)
    tokens = np.array([piece.num_tokens for piece in pieces], dtype=np.int32)
    num_below = np.array([piece.hi for piece in pieces], dtype=np.int32) - lo
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
        own = plan.slots(node)[: tokens[i]]
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
        (q[group.rows] * scale)
        .view(num_nodes, num_rows, num_kv_heads, num_groups, head_dim)
        .permute(0, 2, 1, 3, 4)
        .reshape(num_nodes * num_kv_heads, num_rows * num_groups, head_dim)
    )
    keys, values = (_read(pool, group) for pool in (k, v))  # [M * Hkv, n, D]
    scores = torch.bmm(queries, keys.transpose(1, 2)).float()
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.view(num_nodes, num_kv_heads, num_rows, num_groups, num_tokens)
    windowed = window is not None and group.max_age >= window
    if group.causal or windowed:
        hidden = group.age < 0
        if window is not None:
            hidden |= group.age >= window
        scores.masked_fill_(hidden[:, None, :, None, :], float("-inf"))
    # One exp a score, in place; the division waits until the sum is the size of the output. A row that sees nothing
    # has the lowest finite maximum, weights 0 and a sum of 0.
    largest = scores.amax(dim=-1, keepdim=True).clamp_min_(torch.finfo(torch.float32).min)
    weights = scores.sub_(largest).exp_()
    total = weights.sum(dim=-1)
    flat = weights.view(num_nodes * num_kv_heads, num_rows * num_groups, num_tokens).to(values.dtype)
    out = torch.bmm(flat, values).float().view(num_nodes, num_kv_heads, num_rows, num_groups, head_dim)
    out = out / total.clamp_min(torch.finfo(torch.float32).tiny)[..., None]
    lse = total.log().add_(largest[..., 0])
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
