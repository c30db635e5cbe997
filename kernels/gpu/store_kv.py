"""Scatters a step's new keys and values into the pages of one layer."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from treereason.kernels.gpu.tile import block_d, check_layout


@triton.jit  # type: ignore[untyped-decorator]
def store_kv_kernel(  # type: ignore[no-untyped-def]
    k, v, k_pool, v_pool, row_slot,
    stride_k, stride_kh, stride_v, stride_vh, stride_kp, stride_kph, stride_vp, stride_vph, num_kv_heads,
    D: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Grid (N,): one row's heads."""
    row = tl.program_id(0).to(tl.int64)
    slot = tl.load(row_slot + row).to(tl.int64)
    h = tl.arange(0, BLOCK_H)[:, None].to(tl.int64)
    d = tl.arange(0, BLOCK_D)[None, :]
    mask = (h < num_kv_heads) & (d < D) & (slot >= 0)
    key = tl.load(k + row * stride_k + h * stride_kh + d, mask=mask)
    value = tl.load(v + row * stride_v + h * stride_vh + d, mask=mask)
    tl.store(k_pool + slot * stride_kp + h * stride_kph + d, key.to(k_pool.dtype.element_ty), mask=mask)
    tl.store(v_pool + slot * stride_vp + h * stride_vph + d, value.to(v_pool.dtype.element_ty), mask=mask)


def store_kv(
    k: torch.Tensor, v: torch.Tensor, k_pool: torch.Tensor, v_pool: torch.Tensor, row_slot: torch.Tensor
) -> None:
    """Writes k and v into the pools at row_slot.

    k, v: [N, Hkv, D]. k_pool, v_pool: [num_slots, Hkv, D], any slot and head strides, and any float dtype.
    row_slot: [at least N] int32 on the same device, negative for rows to leave out.
    Raises ValueError where the elements of a head do not adjoin.
    """
    check_layout(k, v, k_pool, v_pool)
    num_rows, num_kv_heads, head_dim = k.shape
    store_kv_kernel[(num_rows,)](
        *(k, v, k_pool, v_pool, row_slot),
        *(k.stride(0), k.stride(1), v.stride(0), v.stride(1)),
        *(k_pool.stride(0), k_pool.stride(1), v_pool.stride(0), v_pool.stride(1), num_kv_heads),
        D=head_dim,
        BLOCK_H=1 << (num_kv_heads - 1).bit_length(),
        BLOCK_D=block_d(head_dim),
        num_warps=4,
    )
