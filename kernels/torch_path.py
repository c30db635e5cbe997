"""Tree attention on plain torch operations: each node is read once for all rows below it.

Per node a partial attention with its log-sum-exp, then an exact merge over the nodes of each row's path
(DeFT, arXiv 2404.00242, section 3). Small nodes of similar shape share one padded matrix product, long ones are read
in place by torch's blocked attention, so the number of torch calls does not grow with the number of branches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from treereason.kernels.plan import Int32, Plan

Int = npt.NDArray[np.signedinteger[Any]]
ROW_BLOCK = 64
ALONE_PRODUCT = 4096
ALONE_TOKENS = 512
BLOCKED_ROWS = 256
BLOCKED_PRODUCT = 1 << 22
"""In 16 bits torch's blocked attention wins from so many rows on, and for few multiplications; in float32 always
(docs/log.md)."""
GATHERED_BYTES = 1 << 20
"""What is gathered at once: it should still be in the processor's cache when it is multiplied (docs/log.md)."""


@dataclass(frozen=True)
class _Pieces:
    """Piece i is the tokens [first, first + tokens) of a node, attended by rows [lo, hi).

    causal: row lo + i sees the tokens up to first + i; otherwise, unless a mask is made, rows see all.
    """

    node: Int32
    lo: Int32
    hi: Int32
    first: Int32
    tokens: Int32
    causal: Int32

    def take(self, index: Int) -> _Pieces:
        return _Pieces(*(column[index] for column in vars(self).values()))


class _Group:
    """Pieces attended together: M pieces, padded to R rows and n tokens.

    rows: [M * R] row indices, a slice when consecutive. slots: [M, n] likewise.
    partial_row: [M * R] the row of each partial result, -1 for padding.
    causal: the one piece is a square that each row sees up to its own token.
    """

    def __init__(self, plan: Plan, pieces: _Pieces) -> None:
        below = pieces.hi - pieces.lo
        num_rows, num_tokens = int(below.max()), int(pieces.tokens.max())
        self.shape = len(below), num_rows, num_tokens
        self.causal = bool(pieces.causal[0])
        rank, offset = np.arange(num_rows, dtype=np.int32), np.arange(num_tokens, dtype=np.int32)
        real = rank < below[:, None]  # [M, R]
        rows = np.where(real, pieces.lo[:, None] + rank, pieces.lo[:, None])
        self._position = plan.row_position[rows]
        self._first_position = plan.node_start[pieces.node] + pieces.first
        self._tokens = pieces.tokens
        self.partial_row: Int32 = np.where(real, rows, -1).reshape(-1).astype(np.int32)
        self.rows = _as_slice(rows.reshape(-1))
        # Padding reads the first token: a weight of 0 times what was never stored may be NaN.
        within = pieces.first[:, None] + np.where(offset < pieces.tokens[:, None], offset, 0)
        page = plan.pages[plan.node_page[pieces.node][:, None] + within // plan.page_size]
        slots = page.astype(np.int64) * plan.page_size + within % plan.page_size
        self.slots = _as_slice(slots.reshape(-1)) if len(below) == 1 else torch.from_numpy(slots)
        last = self._first_position + pieces.tokens - 1
        self._all_see_all = self.causal or bool((self._position.min(axis=1) >= last).all())
        self.max_age = int((self._position.max(axis=1) - self._first_position).max())
        self._pool_index: dict[tuple[int, int], torch.Tensor] = {}

    @cached_property
    def hidden(self) -> torch.Tensor | None:
        """What causality or padding hides, broadcastable to [M, 1, R, 1, n]; None for nothing."""
        if self._all_see_all:
            if (self._tokens == self.shape[2]).all():
                return None
            padding = np.arange(self.shape[2]) >= self._tokens[:, None]
            return torch.from_numpy(padding)[:, None, None, None, :]
        return self.age < 0

    @cached_property
    def age(self) -> torch.Tensor:
        """Row position - token position, [M, 1, R, 1, n]; -1 for padding."""
        offset = np.arange(self.shape[2], dtype=np.int32)
        age = self._position[:, :, None] - (self._first_position[:, None] + offset)[:, None, :]
        age = np.where((offset < self._tokens[:, None])[:, None, :], age, -1)
        return torch.from_numpy(age)[:, None, :, None, :]

    def read(self, pool: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
        """The group's keys or values [M * Hkv, n, D] in blocks (where, block): in place when consecutive."""
        num_slots, num_kv_heads, head_dim = pool.shape
        num_matrices, num_tokens = self.shape[0] * num_kv_heads, self.shape[2]
        by_head = pool.transpose(0, 1)
        if isinstance(self.slots, slice):
            yield slice(0, num_matrices), by_head[:, self.slots]
            return
        by_slot = by_head.reshape(-1, head_dim)
        key = num_slots, num_kv_heads
        if key not in self._pool_index:
            head = torch.arange(num_kv_heads)[:, None] * num_slots
            self._pool_index[key] = (self.slots.view(self.shape[0], 1, -1) + head).view(num_matrices, -1)
        index = self._pool_index[key]
        step = max(1, GATHERED_BYTES // (num_tokens * head_dim * pool.element_size()))
        for start in range(0, num_matrices, step):
            where = slice(start, min(start + step, num_matrices))
            yield where, by_slot.index_select(0, index[where].view(-1)).view(-1, num_tokens, head_dim)


class _Read:
    """The groups of a plan and how their partial results merge."""

    def __init__(self, plan: Plan, pieces: _Pieces) -> None:
        rows, tokens = _coarse(pieces.hi - pieces.lo), _coarse(pieces.tokens)
        alone = (rows * tokens > ALONE_PRODUCT) | (pieces.tokens >= ALONE_TOKENS) | (pieces.causal > 0)
        key = np.where(alone, -1 - np.arange(len(alone)), rows * 2**31 + tokens)
        _, which = np.unique(key, return_inverse=True)
        order = np.argsort(which, kind="stable")
        members = np.split(order, np.flatnonzero(np.diff(which[order])) + 1)
        self.groups = [_Group(plan, pieces.take(index)) for index in members]
        # Usual steps need no table: each group has one result for every row, in order.
        everyone = np.arange(plan.num_rows)
        self.stacked = all(np.array_equal(group.partial_row, everyone) for group in self.groups)
        if not self.stacked:
            table = _merge_table(np.concatenate([group.partial_row for group in self.groups]), plan.num_rows)
            self.index, self.absent = table


class TorchPath:
    """A plan made ready for torch; built once a step, called once a layer."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._whole = _Read(plan, _pieces(plan, masks=False))
        self._max_age = max(group.max_age for group in self._whole.groups)

    @cached_property
    def _masked(self) -> _Read:
        return _Read(self._plan, _pieces(self._plan, masks=True))

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
        if window is not None and window > self._max_age:
            window = None
        read = self._whole if window is None and softcap is None else self._masked
        outs: list[torch.Tensor] = []
        lses: list[torch.Tensor] = []
        q_heads = q.view(num_rows, num_kv_heads, num_heads // num_kv_heads, head_dim)
        for group in read.groups:
            blocked = read is self._whole and isinstance(group.slots, slice) and group.hidden is None
            if group.causal or (blocked and _blocked_wins(group, q)):
                out, lse = _blocked(group, q_heads, k, v, scale)
            else:
                out, lse = _partial(group, q_heads, k, v, scale, window, softcap)
            outs.append(out.reshape(-1, num_heads, head_dim))
            lses.append(lse.reshape(-1, num_heads))
        if read.stacked and len(outs) == 1 and sinks is None:
            return outs[0].to(q.dtype), lses[0]
        if read.stacked:
            lse_path = torch.stack(lses, dim=1)  # [N, path, Hq]
            out_path = torch.stack(outs, dim=1)  # [N, path, Hq, D]
        else:
            lse_path = torch.cat(lses)[read.index]
            if read.absent is not None:
                lse_path.masked_fill_(read.absent[..., None], float("-inf"))
            out_path = torch.cat(outs)[read.index]
        lse = lse_path.logsumexp(dim=1)
        if sinks is not None:
            lse = torch.logaddexp(lse, sinks.float())
        weight = torch.exp(lse_path - lse[:, None])
        out = out_path.mul_(weight[..., None]).sum(dim=1)
        return out.to(q.dtype), lse


def _pieces(plan: Plan, *, masks: bool) -> _Pieces:
    """Every node that a row reads, cut where that saves work.

    Without masks, a long node with many new tokens of its own is cut into what its rows see whole, the square of its
    new tokens, and what the rows below it see. With masks, its rows are cut into blocks that leave out the tokens
    after them.
    """
    node = np.flatnonzero((plan.node_hi > plan.node_lo) & (plan.node_tokens > 0)).astype(np.int32)
    lo, hi, tokens = plan.node_lo[node], plan.node_hi[node], plan.node_tokens[node]
    zero = np.zeros_like(node)
    pieces = _Pieces(node, lo, hi, zero, tokens, zero)
    large = (hi - lo > 2 * ROW_BLOCK) if masks else ((hi - lo) * tokens > ALONE_PRODUCT)
    large &= plan.row_position[lo] < plan.node_start[node] + tokens - 1  # its own rows, and more than one
    if not large.any():
        return pieces
    cut: list[tuple[int, int, int, int, int, int]] = []
    for i in np.flatnonzero(large).tolist():
        cut += _blocks(plan, int(node[i])) if masks else _square(plan, int(node[i]))
    kept = vars(pieces.take(np.flatnonzero(~large))).values()
    return _Pieces(*np.concatenate([np.stack(list(kept), axis=1), np.array(cut, dtype=np.int32)]).T)


def _square(plan: Plan, node: int) -> list[tuple[int, int, int, int, int, int]]:
    lo, hi, tokens = int(plan.node_lo[node]), int(plan.node_hi[node]), int(plan.node_tokens[node])
    end = int(plan.node_start[node]) + tokens
    own = int((plan.row_position[lo:hi] < end).sum())
    old = tokens - own
    pieces = [(node, lo, lo + own, old, own, 1)]
    if old:
        pieces.append((node, lo, lo + own, 0, old, 0))
    if lo + own < hi:
        pieces.append((node, lo + own, hi, 0, tokens, 0))
    return pieces


def _blocks(plan: Plan, node: int) -> list[tuple[int, int, int, int, int, int]]:
    pieces = []
    for lo in range(int(plan.node_lo[node]), int(plan.node_hi[node]), ROW_BLOCK):
        hi = min(lo + ROW_BLOCK, int(plan.node_hi[node]))
        visible = int(plan.row_position[lo:hi].max() - plan.node_start[node]) + 1
        pieces.append((node, lo, hi, 0, min(visible, int(plan.node_tokens[node])), 0))
    return pieces


def _coarse(count: Int32) -> Int:
    """The next of 1, 4, 16, 64, ...: nodes of like size share a group."""
    size: Int = 4 ** np.ceil(np.log2(count) / 2).astype(np.int64)
    return size


def _as_slice(index: Int32) -> torch.Tensor | slice:
    first = int(index[0])
    if index[-1] - first == len(index) - 1 and (len(index) == 1 or (np.diff(index) == 1).all()):
        return slice(first, first + len(index))
    return torch.from_numpy(index).long()


def _merge_table(partial_row: Int32, num_rows: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """For every row the partial results of its path, [N, longest path] padded with 0, and which are absent if any."""
    real = np.flatnonzero(partial_row >= 0)
    order = real[np.argsort(partial_row[real], kind="stable")]
    row = partial_row[order]
    count = np.bincount(row, minlength=num_rows)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    index = np.zeros((num_rows, int(count.max())), dtype=np.int64)
    absent = np.ones(index.shape, dtype=bool)
    index[row, rank] = order
    absent[row, rank] = False
    return torch.from_numpy(index), torch.from_numpy(absent) if absent.any() else None


def _blocked_wins(group: _Group, q: torch.Tensor) -> bool:
    _, num_rows, num_tokens = group.shape
    num_products = num_rows * num_tokens * q.shape[1] * q.shape[2]
    return q.dtype == torch.float32 or num_rows >= BLOCKED_ROWS or num_products <= BLOCKED_PRODUCT


def _blocked(
    group: _Group, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `_partial` for one piece without a mask, by torch's own attention, which also tells the log-sum-exp."""
    num_rows = group.shape[1]
    num_kv_heads, num_groups, head_dim = q.shape[1:]
    keys, values = (_together([block for _, block in group.read(pool)]) for pool in (k, v))  # [Hkv, n, D]
    attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    if group.causal:
        wide = (num_kv_heads, num_groups, *keys.shape[1:])
        queries = q[group.rows].permute(1, 2, 0, 3)
        out, lse = attend(queries, keys[:, None].expand(wide), values[:, None].expand(wide), 0.0, True, scale=scale)
        return out.permute(2, 0, 1, 3), lse.permute(2, 0, 1)
    # The query heads of one KV head lie in one tile, so KV is read once for all of them.
    queries = q[group.rows].transpose(0, 1).reshape(1, num_kv_heads, num_rows * num_groups, head_dim)
    out, lse = attend(queries, keys[None], values[None], 0.0, False, scale=scale)
    out = out.reshape(num_kv_heads, num_rows, num_groups, head_dim).transpose(0, 1)
    return out, lse.reshape(num_kv_heads, num_rows, num_groups).transpose(0, 1)


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
        .transpose(1, 2)
        .reshape(num_nodes * num_kv_heads, num_rows * num_groups, head_dim)
    )
    # Where it costs no precision, the scale goes over the queries: they are fewer than the scores.
    scale_queries = q.dtype == torch.float32
    if scale_queries:
        queries = queries * scale
    scores = _multiply((queries[where], keys.transpose(1, 2)) for where, keys in group.read(k)).float()
    if not scale_queries:
        scores.mul_(scale)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    hidden = group.hidden
    if window is not None and group.max_age >= window:
        hidden = (group.age < 0) | (group.age >= window)
    if hidden is not None:
        scores.view(num_nodes, num_kv_heads, num_rows, num_groups, num_tokens).masked_fill_(hidden, float("-inf"))
    # One exp a score, in place; the division waits until the sum is the size of the output. A row that sees nothing
    # has the lowest finite maximum, weights 0 and a sum of 0.
    largest = scores.amax(dim=-1, keepdim=True).clamp_min_(torch.finfo(torch.float32).min)
    weights = scores.sub_(largest).exp_()
    total = weights.sum(dim=-1, keepdim=True)
    weights = weights.to(v.dtype)
    out = _multiply((weights[where], values) for where, values in group.read(v)).float()
    out = out.div_(total.clamp_min(torch.finfo(torch.float32).tiny))
    out = out.view(num_nodes, num_kv_heads, num_rows, num_groups, head_dim)
    lse = total.log_().add_(largest).view(num_nodes, num_kv_heads, num_rows, num_groups)
    return out.transpose(1, 2), lse.transpose(1, 2)


def _multiply(blocks: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """The matrix products of all blocks of a batch, in one tensor."""
    return _together([torch.bmm(a, b) for a, b in blocks])


def _together(blocks: list[torch.Tensor]) -> torch.Tensor:
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks)
