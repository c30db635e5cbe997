"""Tree attention on plain torch operations: each node is read once for all rows below it.

Per node a partial attention with its log-sum-exp, then an exact merge over the nodes of each row's path
(DeFT, arXiv 2404.00242, section 3). Small regions of similar shape share one padded matrix product, long ones are read
in place by torch's blocked attention, so the number of torch calls does not grow with the number of branches. Where all
rows see little, each row's path is gathered instead, and nothing is left to merge.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
import torch

from treereason.kernels.cpu.batch import SCORE_BYTES, Batch, widest_path
from treereason.kernels.cpu.regions import LARGE_PRODUCT, Int, Regions, cut_regions
from treereason.kernels.options import AttentionOptions
from treereason.kernels.plan import Int32, Plan

ALONE_TOKENS = 512
GATHERED_SLOTS = 1 << 12
"""Rows times the tokens of the widest row's view: up to so many, paths are gathered (docs/log.md)."""
BLOCKED_ROWS = 256
BLOCKED_PRODUCT = 1 << 22
"""In 16 bits torch's blocked attention wins from so many rows on, and for few multiplications; in float32 always
(docs/log.md)."""


class _CutPlan:
    """A plan cut into batches, and how their partial results merge. paths: attend to each row's whole path instead."""

    def __init__(self, plan: Plan, regions: Regions, *, paths: bool = False) -> None:
        if paths:
            self.batches, self.stacked = [Batch.of_paths(plan)], True
            return
        rows, tokens = _coarse(regions.hi - regions.lo), _coarse(regions.tokens)
        alone = (rows * tokens > LARGE_PRODUCT) | (regions.tokens >= ALONE_TOKENS) | (regions.causal > 0)
        key = np.where(alone, -1 - np.arange(len(alone)), rows * 2**31 + tokens)
        _, which = np.unique(key, return_inverse=True)
        order = np.argsort(which, kind="stable")
        members = np.split(order, np.flatnonzero(np.diff(which[order])) + 1)
        self.batches = [Batch.of_regions(plan, regions.take(index)) for index in members]
        # Usual steps need no table: each batch has one result for every row, in order.
        everyone = np.arange(plan.num_rows)
        self.stacked = all(np.array_equal(batch.partial_row, everyone) for batch in self.batches)
        if not self.stacked:
            table = _merge_table(np.concatenate([batch.partial_row for batch in self.batches]), plan.num_rows)
            self.index, self.absent = table

    def merge(
        self, outs: list[torch.Tensor], lses: list[torch.Tensor], sinks: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of every batch's out [M * R, Hkv, G, D] and lse [M * R, Hkv, G]: each row's out and lse, float32.

        sinks: [Hkv, G] or None.
        """
        if self.stacked:
            lse_path = torch.stack(lses)  # [path, N, Hkv, G]
        else:
            lse_path = torch.cat(lses)[self.index]
            if self.absent is not None:
                lse_path.masked_fill_(self.absent[..., None, None], float("-inf"))
        entries = lse_path if sinks is None else torch.cat([lse_path, sinks.expand(1, *lse_path.shape[1:])])
        weights = entries.softmax(dim=0)
        lse = entries.amax(dim=0).sub_(weights.amax(dim=0).log_())
        of_path = outs if self.stacked else torch.cat(outs)[self.index].unbind()
        out = of_path[0] * weights[0, ..., None]
        for part, weight in zip(of_path[1:], weights[1:], strict=sinks is None):
            out.addcmul_(part, weight[..., None])
        return out.contiguous(), lse


class TorchBackend:
    """A plan made ready for torch; built once per step, called once per layer."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._paths = plan.num_rows * widest_path(plan) <= GATHERED_SLOTS
        self._whole = _CutPlan(plan, cut_regions(plan, masks=False), paths=self._paths)
        self._max_age = max(batch.max_age for batch in self._whole.batches)

    @cached_property
    def _masked(self) -> _CutPlan:
        return self._whole if self._paths else _CutPlan(self._plan, cut_regions(self._plan, masks=True))

    def __call__(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, options: AttentionOptions
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shapes and meaning as in `PlannedAttention`."""
        num_rows, num_heads, head_dim = q.shape
        num_kv_heads = k.shape[1]
        if options.window is not None and options.window > self._max_age:
            options = replace(options, window=None)
        plain = options.window is None and options.softcap is None
        read = self._whole if plain else self._masked
        outs: list[torch.Tensor] = []
        lses: list[torch.Tensor] = []
        q_heads = q.view(num_rows, num_kv_heads, num_heads // num_kv_heads, head_dim)
        for batch in read.batches:
            blocked = plain and isinstance(batch.slots, slice) and batch.hidden is None
            if batch.causal or (blocked and _blocked_wins(batch, q)):
                out, lse = _blocked(batch, q_heads, k, v, options.scale)
            else:
                out, lse = _partial(batch, q_heads, k, v, options)
            outs.append(out)
            lses.append(lse)
        if read.stacked and len(outs) == 1 and options.sinks is None:
            return outs[0].reshape(q.shape).to(q.dtype), lses[0].reshape(num_rows, num_heads)
        sinks = None if options.sinks is None else options.sinks.float().view(num_kv_heads, -1)
        out, lse = read.merge(outs, lses, sinks)
        return out.view(q.shape).to(q.dtype), lse.view(num_rows, num_heads)


def _coarse(count: Int32) -> Int:
    """The next of 1, 4, 16, 64, ...: regions of like size share a batch."""
    size: Int = 4 ** np.ceil(np.log2(count) / 2).astype(np.int64)
    return size


def _merge_table(partial_row: Int32, num_rows: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """For every row the partial results of its path, [longest path, N] padded with 0, and which are absent if any."""
    real = np.flatnonzero(partial_row >= 0)
    order = real[np.argsort(partial_row[real], kind="stable")]
    row = partial_row[order]
    count = np.bincount(row, minlength=num_rows)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    index = np.zeros((int(count.max()), num_rows), dtype=np.int64)
    absent = np.ones(index.shape, dtype=bool)
    index[rank, row] = order
    absent[rank, row] = False
    return torch.from_numpy(index), torch.from_numpy(absent) if absent.any() else None


def _blocked_wins(batch: Batch, q: torch.Tensor) -> bool:
    _, num_rows, num_tokens = batch.shape
    num_products = num_rows * num_tokens * q.shape[1] * q.shape[2]
    return q.dtype == torch.float32 or num_rows >= BLOCKED_ROWS or num_products <= BLOCKED_PRODUCT


def _blocked(
    batch: Batch, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `_partial` for one region without a mask, by torch's own attention, which also tells the log-sum-exp."""
    num_rows = batch.shape[1]
    num_kv_heads, group_size, head_dim = q.shape[1:]
    keys, values = batch.read(k), batch.read(v)  # [Hkv, n, D]
    attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    if batch.causal:
        wide = (num_kv_heads, group_size, *keys.shape[1:])
        queries = q[batch.rows].permute(1, 2, 0, 3)
        out, lse = attend(queries, keys[:, None].expand(wide), values[:, None].expand(wide), 0.0, True, scale=scale)
        return out.permute(2, 0, 1, 3), lse.permute(2, 0, 1)
    # The query heads of one KV head lie in one tile, so KV is read once for all of them.
    queries = q[batch.rows].transpose(0, 1).reshape(1, num_kv_heads, num_rows * group_size, head_dim)
    out, lse = attend(queries, keys[None], values[None], 0.0, False, scale=scale)
    out = out.reshape(num_kv_heads, num_rows, group_size, head_dim).transpose(0, 1)
    return out, lse.reshape(num_kv_heads, num_rows, group_size).transpose(0, 1)


def _partial(
    batch: Batch,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    options: AttentionOptions,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention of a batch's rows over its regions alone. q: [N, Hkv, G, D].

    Returns out [M * R, Hkv, G, D] and lse [M * R, Hkv, G], float32; a row that sees nothing has out 0, lse -inf.
    """
    num_regions, num_rows, num_tokens = batch.shape
    num_kv_heads, group_size, head_dim = q.shape[1:]
    window, softcap = options.window, options.softcap
    hidden = batch.hidden
    if window is not None and batch.max_age >= window:
        hidden = (batch.age < 0) | (batch.age >= window)
    queries = q[batch.rows].view(num_regions, num_rows, num_kv_heads, group_size, head_dim).transpose(1, 2)
    unread = q.new_empty(())
    # Rows of one region are cut as well, of many regions they are few.
    num_rows_at_once = max(1, SCORE_BYTES // (4 * group_size * num_tokens)) if num_regions == 1 else num_rows
    outs: list[torch.Tensor] = []
    lses: list[torch.Tensor] = []
    for regions, heads in batch.blocks(num_kv_heads, group_size, head_dim * k.element_size()):
        keys, values = batch.read(k, regions, heads).transpose(1, 2), batch.read(v, regions, heads)
        for row in range(0, num_rows, num_rows_at_once):
            rows = slice(row, row + num_rows_at_once)
            block = queries[regions, heads, rows]
            # The query heads of one KV head lie in one tile, so KV is read once for all of them.
            tile = block.reshape(len(keys), -1, head_dim)  # [M' * Hkv', R' * G, D]
            scores = torch.baddbmm(unread, tile, keys, beta=0, alpha=options.scale).float()
            if softcap is not None:
                scores = softcap * torch.tanh(scores / softcap)
            if hidden is not None:
                scores.view(*block.shape[:-1], -1).masked_fill_(hidden[regions, :, rows], float("-inf"))
            weights = scores.softmax(dim=-1)
            largest = scores.amax(dim=-1)
            lse = largest - weights.amax(dim=-1).log_()
            out = torch.bmm(weights.to(v.dtype), values)
            if window is not None:
                blind = largest == float("-inf")
                lse.masked_fill_(blind, float("-inf"))
                out.masked_fill_(blind[..., None], 0.0)
            outs.append(out.view(-1, head_dim))
            lses.append(lse.view(-1))
    out = _together(outs).view(num_regions, num_kv_heads, num_rows, group_size, head_dim).transpose(1, 2)
    lse = _together(lses).view(num_regions, num_kv_heads, num_rows, group_size).transpose(1, 2)
    return out.flatten(0, 1), lse.flatten(0, 1)


def _together(blocks: list[torch.Tensor]) -> torch.Tensor:
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks)
