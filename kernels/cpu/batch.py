"""What torch attends to in one product: regions of a plan, or whole paths, padded to one shape."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from treereason.kernels.cpu.regions import Int, Regions
from treereason.kernels.plan import Int32, Plan

GATHERED_BYTES = 1 << 20
SCORE_BYTES = 2 << 20
"""What is gathered, and how many scores are made, at once: they should stay in the processor's cache (docs/log.md)."""


class Batch:
    """Regions attended together: M regions, padded to R rows and n tokens.

    rows: [M * R] row indices, a slice when consecutive. slots: [M, n] likewise.
    partial_row: [M * R] the row of each partial result, -1 for padding.
    causal: the one region is a square that each row sees up to its own token.
    """

    def __init__(
        self,
        rows: Int32,
        slots: npt.NDArray[np.int64],
        partial_row: Int32,
        position: Int32,
        token_position: Int32,
        tokens: Int32,
        *,
        causal: bool = False,
    ) -> None:
        """rows, partial_row: [M * R]. slots: [M, n], padded with any that are stored.

        position: [M, R] of the rows. token_position: [M, n]. tokens: [M] how many are no padding.
        """
        self.shape = (*position.shape, slots.shape[1])
        self.causal = causal
        self.partial_row = partial_row
        self.rows = _as_slice(rows)
        self.slots = _as_slice(slots.reshape(-1)) if len(slots) == 1 else torch.from_numpy(slots)
        self._position, self._token_position, self._tokens = position, token_position, tokens
        last = np.take_along_axis(token_position, tokens[:, None] - 1, axis=1)[:, 0]
        self._all_see_all = causal or bool((position.min(axis=1) >= last).all())
        self.max_age = int((position.max(axis=1) - token_position[:, 0]).max())
        self._pool_index: dict[tuple[int, int], torch.Tensor] = {}

    @classmethod
    def of_regions(cls, plan: Plan, regions: Regions) -> Self:
        """Some regions of a plan."""
        below = regions.hi - regions.lo
        num_rows, num_tokens = int(below.max()), int(regions.tokens.max())
        rank, offset = np.arange(num_rows, dtype=np.int32), np.arange(num_tokens, dtype=np.int32)
        real = rank < below[:, None]  # [M, R]
        rows = np.where(real, regions.lo[:, None] + rank, regions.lo[:, None])
        # Padding reads the first token: a weight of 0 times what was never stored may be NaN.
        within = regions.first[:, None] + np.where(offset < regions.tokens[:, None], offset, 0)
        return cls(
            rows.reshape(-1),
            _slots(plan, regions.node[:, None], within),
            np.where(real, rows, -1).reshape(-1).astype(np.int32),
            plan.row_position[rows],
            (plan.node_start[regions.node] + regions.first)[:, None] + offset,
            regions.tokens,
            causal=bool(regions.causal[0]),
        )

    @classmethod
    def of_paths(cls, plan: Plan) -> Self:
        """All that each row sees, node after node: N regions of one row."""
        node = np.flatnonzero((plan.node_hi > plan.node_lo) & (plan.node_tokens > 0))
        below = plan.node_hi[node] - plan.node_lo[node]
        row = np.repeat(plan.node_lo[node], below) + rank_of(below)
        node = np.repeat(node, below)
        order = np.argsort(row, kind="stable")
        row, node = row[order], node[order]
        seen = np.minimum(plan.node_tokens[node], plan.row_position[row] - plan.node_start[node] + 1)
        seen = np.maximum(seen, 0)  # a node's first rows do not see its later parts
        tokens = np.bincount(row, weights=seen, minlength=plan.num_rows).astype(np.int32)
        row, node, within = np.repeat(row, seen), np.repeat(node, seen), rank_of(seen)
        column = rank_of(tokens)
        rows = np.arange(plan.num_rows, dtype=np.int32)
        slots = np.repeat(plan.row_slot.astype(np.int64)[:, None], int(tokens.max()), axis=1)
        slots[row, column] = _slots(plan, node, within)
        position = np.zeros(slots.shape, dtype=np.int32)
        position[row, column] = plan.node_start[node] + within
        return cls(rows, slots, rows, plan.row_position[:, None], position, tokens)

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
        age = self._position[:, :, None] - self._token_position[:, None, :]
        age = np.where((offset < self._tokens[:, None])[:, None, :], age, -1)
        return torch.from_numpy(age)[:, None, :, None, :]

    def blocks(self, num_kv_heads: int, group_size: int, kv_bytes: int) -> Iterator[tuple[slice, slice]]:
        """Which regions and KV heads to attend at a time, in order; kv_bytes: of one key of one head.

        Many regions are cut by what they gather, one region by its scores.
        """
        num_regions, num_rows, num_tokens = self.shape
        every = slice(None)
        if num_regions > 1:
            step = max(1, GATHERED_BYTES // (num_kv_heads * num_tokens * kv_bytes))
            yield from ((slice(i, i + step), every) for i in range(0, num_regions, step))
        else:
            step = max(1, SCORE_BYTES // (4 * num_rows * group_size * num_tokens))
            yield from ((every, slice(i, i + step)) for i in range(0, num_kv_heads, step))

    def read(self, pool: torch.Tensor, regions: slice = slice(None), heads: slice = slice(None)) -> torch.Tensor:
        """Keys or values [regions * heads, n, D] of a pool: in place when consecutive."""
        by_head = pool.transpose(0, 1)
        if isinstance(self.slots, slice):
            return by_head[heads, self.slots]
        num_slots, num_kv_heads, head_dim = pool.shape
        key = num_slots, num_kv_heads
        if key not in self._pool_index:
            head = torch.arange(num_kv_heads)[:, None] * num_slots
            self._pool_index[key] = self.slots.view(self.shape[0], 1, -1) + head
        index = self._pool_index[key][regions, heads]  # [regions, heads, n]
        return by_head.reshape(-1, head_dim).index_select(0, index.reshape(-1)).view(-1, self.shape[2], head_dim)


def widest_path(plan: Plan) -> int:
    """Tokens listed for the row that has most."""
    tokens = plan.node_tokens.astype(np.int64)
    change = np.bincount(plan.node_lo, weights=tokens, minlength=plan.num_rows + 1)
    change -= np.bincount(np.maximum(plan.node_hi, plan.node_lo), weights=tokens, minlength=plan.num_rows + 1)
    return int(np.cumsum(change).max())


def rank_of(counts: Int32) -> Int:
    """0, 1, ... up to each count, one run after another."""
    total: Int = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return total


def _slots(plan: Plan, node: Int, token: Int) -> npt.NDArray[np.int64]:
    """Slots of tokens by their numbers in nodes; any shapes that broadcast."""
    token = token + plan.node_offset[node]
    page = plan.pages[plan.node_page[node] + token // plan.page_size]
    slots: npt.NDArray[np.int64] = page.astype(np.int64) * plan.page_size + token % plan.page_size
    return slots


def _as_slice(index: Int) -> torch.Tensor | slice:
    first = int(index[0])
    if index[-1] - first == len(index) - 1 and (len(index) == 1 or (np.diff(index) == 1).all()):
        return slice(first, first + len(index))
    return torch.from_numpy(index).long()
