"""Tree attention by the compiled kernel of tree_attention.cpp: one call a layer, one pass over the nodes.

Rows are cut into blocks; a thread takes a block and a KV head, and walks the nodes above the block's rows.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch

from treereason.kernels.cpu.layer_weights import LayerWeights
from treereason.kernels.cpu.library import SUFFIXES, function
from treereason.kernels.options import AttentionOptions
from treereason.kernels.plan import Int32, Plan

HEAD_DIM_STEP = 32
"""Head dimensions are multiples of it: both halves of a head fill vectors of 64 bytes."""
BLOCK_QUERIES = 256
"""Most query vectors of a block: rows times query heads of a KV head."""
FEWEST_QUERIES = 48
"""Blocks are not made smaller to give every thread several: keys are packed once a block."""
TASKS_PER_THREAD = 4


class _Plan(ctypes.Structure):
    """`Plan` of tree_attention.cpp."""

    _fields_: ClassVar = [
        *[(name, ctypes.c_int32) for name in ("num_rows", "page_size", "num_blocks", "num_threads")],
        *[(name, ctypes.c_void_p) for name in ("row_position", "row_slot", "node_lo", "node_hi", "node_start")],
        *[(name, ctypes.c_void_p) for name in ("node_tokens", "node_offset", "node_page", "pages")],
        *[(name, ctypes.c_void_p) for name in ("block_row", "block_node", "nodes")],
    ]


class _Layer(ctypes.Structure):
    """`Layer` of tree_attention.cpp."""

    _fields_: ClassVar = [
        *[(name, ctypes.c_void_p) for name in ("q", "k", "v", "keys", "values", "out", "lse")],
        *[(name, ctypes.c_void_p) for name in ("cos", "sin", "sinks", "wanted")],
        *[(name, ctypes.c_int64) for name in ("q_row", "q_head", "k_row", "k_head", "v_row", "v_head")],
        *[(name, ctypes.c_int64) for name in ("keys_slot", "keys_head", "values_slot", "values_head", "angle_row")],
        *[(name, ctypes.c_int32) for name in ("num_heads", "num_kv_heads", "head_dim", "window")],
        *[(name, ctypes.c_float) for name in ("scale", "softcap")],
    ]


def can_attend(dtype: torch.dtype, head_dim: int) -> bool:
    """Whether the kernel computes heads of this size and type."""
    return dtype in SUFFIXES and head_dim % HEAD_DIM_STEP == 0


class CompiledBackend:
    """A plan made ready for the compiled kernel; built once per step, called once per layer."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._blocks: dict[tuple[int, int], tuple[_Plan, list[Int32]]] = {}

    def __call__(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, options: AttentionOptions
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shapes and meaning as in `PlannedAttention`."""
        lse = torch.empty(q.shape[:2])
        return self.attend(q, k, v, options, lse=lse), lse

    def attend(
        self,
        q: torch.Tensor,
        k_pool: torch.Tensor,
        v_pool: torch.Tensor,
        options: AttentionOptions,
        *,
        new: tuple[torch.Tensor, torch.Tensor] | None = None,
        rotation: tuple[torch.Tensor, torch.Tensor] | None = None,
        lse: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Attention [N, Hq, D] of q [N, Hq, D] over pools [num_slots, Hkv, D].

        new: keys and values [N, Hkv, D] of this step, stored first; None if they are stored already.
        rotation: cosines and sines [N, D] by which q and the new keys are rotated first; None if they are.
        lse: [N, Hq] float32, written. Heads of all tensors have their elements side by side.
        """
        num_rows, num_heads, head_dim = q.shape
        plan = self._planned(num_heads // k_pool.shape[1], k_pool.shape[1])
        out = torch.empty(num_rows, num_heads, head_dim, dtype=q.dtype)
        layer = _layer(num_heads, k_pool, v_pool, options, rotation)
        for name, x in (("q", q), ("k", new and new[0]), ("v", new and new[1])):
            if x is not None:
                _set(layer, name, x)
        layer.out, layer.lse = out.data_ptr(), None if lse is None else lse.data_ptr()
        attend = function(f"tree_attention_{SUFFIXES[q.dtype]}", ctypes.c_void_p, ctypes.c_void_p)
        attend(ctypes.addressof(plan), ctypes.addressof(layer))
        return out

    def decoder_layers(
        self,
        x: torch.Tensor,
        layers: Sequence[LayerWeights],
        pools: Sequence[tuple[torch.Tensor, torch.Tensor]],
        rotation: tuple[torch.Tensor, torch.Tensor],
        wanted: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """What layers with equal heads make of x [N, width], contiguous, one after the other.

        pools: of keys and values, of each layer. rotation: as in `attend`. wanted: [N] bool, the rows whose result is
        read; the others have any. None for all.
        """
        first, num_layers = layers[0], len(layers)
        plan = self._planned(first.num_heads // first.num_kv_heads, first.num_kv_heads)
        attending = (_Layer * num_layers)(
            *(_layer(each.num_heads, *pool, each.options, rotation) for each, pool in zip(layers, pools, strict=True))
        )
        if wanted is not None:
            attending[-1].wanted = wanted.data_ptr()
        weights = (ctypes.c_void_p * num_layers)(*(ctypes.addressof(each.numbers) for each in layers))
        out = torch.empty_like(x)
        types = *[ctypes.c_void_p] * 3, ctypes.c_int64, *[ctypes.c_void_p] * 2
        decode = function(f"decoder_layers_{SUFFIXES[x.dtype]}", *types)
        decode(*map(ctypes.addressof, (plan, attending, weights)), num_layers, x.data_ptr(), out.data_ptr())
        return out

    def _planned(self, group_size: int, num_kv_heads: int) -> _Plan:
        """The plan cut into blocks of rows for such heads and the threads of now."""
        num_threads = torch.get_num_threads()
        key = group_size, num_kv_heads
        if key not in self._blocks:
            plan = self._plan
            block_row = _block_rows(plan.num_rows, group_size, num_kv_heads, num_threads)
            block_node, nodes = _block_nodes(plan, block_row)
            arrays = [
                np.ascontiguousarray(array, dtype=np.int32)
                for array in (
                    plan.row_position,
                    plan.row_slot,
                    plan.node_lo,
                    plan.node_hi,
                    plan.node_start,
                    plan.node_tokens,
                    plan.node_offset,
                    plan.node_page,
                    plan.pages,
                    block_row,
                    block_node,
                    nodes,
                )
            ]
            sizes = plan.num_rows, plan.page_size, len(block_row) - 1, num_threads
            # The arrays are kept: the structure holds their addresses alone.
            self._blocks[key] = _Plan(*sizes, *(array.ctypes.data for array in arrays)), arrays
        return self._blocks[key][0]


def _layer(
    num_heads: int,
    k_pool: torch.Tensor,
    v_pool: torch.Tensor,
    options: AttentionOptions,
    rotation: tuple[torch.Tensor, torch.Tensor] | None,
) -> _Layer:
    """All but queries, new keys and values, and where results go. Raises ValueError for heads of another size."""
    if not can_attend(k_pool.dtype, k_pool.shape[2]):
        raise ValueError(f"heads of {k_pool.shape[2]} in {k_pool.dtype}: see can_attend")
    layer = _Layer(num_heads=num_heads, num_kv_heads=k_pool.shape[1], head_dim=k_pool.shape[2])
    layer.keys, (layer.keys_slot, layer.keys_head, _) = k_pool.data_ptr(), k_pool.stride()
    layer.values, (layer.values_slot, layer.values_head, _) = v_pool.data_ptr(), v_pool.stride()
    layer.scale, layer.window, layer.softcap = options.scale, options.window or 0, options.softcap or 0.0
    if options.sinks is not None:
        layer.kept = options.sinks.float().contiguous()
        layer.sinks = layer.kept.data_ptr()
    if rotation is not None:
        layer.cos, layer.sin = rotation[0].data_ptr(), rotation[1].data_ptr()
        layer.angle_row = rotation[0].stride(0)
    return layer


def _set(layer: _Layer, name: str, x: torch.Tensor) -> None:
    """Let q, k or v of the layer be a tensor [N, H, D]."""
    setattr(layer, name, x.data_ptr())
    setattr(layer, f"{name}_row", x.stride(0))
    setattr(layer, f"{name}_head", x.stride(1))


def _block_rows(num_rows: int, group_size: int, num_kv_heads: int, num_threads: int) -> Int32:
    """First row of each block, and the number of rows at the end."""
    num_blocks = -(-num_rows * group_size // BLOCK_QUERIES)
    if num_threads > 1:
        wanted = -(-num_threads * TASKS_PER_THREAD // num_kv_heads)
        num_blocks = max(num_blocks, min(wanted, num_rows * group_size // FEWEST_QUERIES, num_rows))
    num_blocks = min(num_blocks, num_rows)
    return np.arange(num_blocks + 1, dtype=np.int32) * num_rows // max(1, num_blocks)


def _block_nodes(plan: Plan, block_row: Int32) -> tuple[Int32, Int32]:
    """Nodes with rows in each block, in order: where each block's begin, [blocks + 1], and all of them."""
    read = np.flatnonzero((plan.node_hi > plan.node_lo) & (plan.node_tokens > 0))
    first = np.searchsorted(block_row, plan.node_lo[read], side="right") - 1
    last = np.searchsorted(block_row, plan.node_hi[read], side="left")  # one behind
    count = last - first
    rank = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    block = np.repeat(first, count) + rank
    node = np.repeat(read, count)
    order = np.argsort(block, kind="stable")
    ends = np.searchsorted(block[order], np.arange(len(block_row)))
    return ends.astype(np.int32), node[order].astype(np.int32)
