"""Rotates a step's queries and keys to their positions, and stores keys and values into pages: one launch a layer.

Su et al., arXiv 2104.09864, in the layout that turns the two halves of a head against each other.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from treereason.kernels.gpu.tile import check_layout

BLOCK_H = 8


@triton.jit  # type: ignore[untyped-decorator]
def rotated(  # type: ignore[no-untyped-def]
    x, cos, sin, h, d, mask, stride_head, HALF: tl.constexpr
):  # fmt: skip
    """Both halves of heads h, [BLOCK_H, BLOCK_HALF] each; every product is rounded to the dtype, and so is the sum."""
    stored = x.dtype.element_ty
    low = tl.load(x + h * stride_head + d, mask=mask, other=0.0).to(tl.float32)
    high = tl.load(x + h * stride_head + HALF + d, mask=mask, other=0.0).to(tl.float32)
    real = d < HALF
    cos_low = tl.load(cos + d, mask=real, other=0.0).to(tl.float32)
    sin_low = tl.load(sin + d, mask=real, other=0.0).to(tl.float32)
    cos_high = tl.load(cos + HALF + d, mask=real, other=0.0).to(tl.float32)
    sin_high = tl.load(sin + HALF + d, mask=real, other=0.0).to(tl.float32)
    new_low = (low * cos_low).to(stored).to(tl.float32) - (high * sin_low).to(stored).to(tl.float32)
    new_high = (high * cos_high).to(stored).to(tl.float32) + (low * sin_high).to(stored).to(tl.float32)
    return new_low.to(stored), new_high.to(stored)


@triton.jit  # type: ignore[untyped-decorator]
def rope_store_kernel(  # type: ignore[no-untyped-def]
    q, k, v, cos, sin, out, k_pool, v_pool, row_slot,
    stride_q, stride_qh, stride_k, stride_kh, stride_v, stride_vh, stride_cos, stride_sin,
    stride_kp, stride_kph, stride_vp, stride_vph, num_heads, num_kv_heads,
    HALF: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_HALF: tl.constexpr,
):  # fmt: skip
    """Grid (N, blocks of query heads, then blocks of KV heads). out is contiguous."""
    row = tl.program_id(0).to(tl.int64)
    query_blocks = (num_heads + BLOCK_H - 1) // BLOCK_H
    block = tl.program_id(1)
    d = tl.arange(0, BLOCK_HALF)[None, :]
    cos += row * stride_cos
    sin += row * stride_sin
    if block < query_blocks:
        h = block.to(tl.int64) * BLOCK_H + tl.arange(0, BLOCK_H)[:, None]
        mask = (h < num_heads) & (d < HALF)
        low, high = rotated(q + row * stride_q, cos, sin, h, d, mask, stride_qh, HALF)
        where = out + (row * num_heads + h) * (2 * HALF) + d
        tl.store(where, low, mask=mask)
        tl.store(where + HALF, high, mask=mask)
    else:
        h = (block - query_blocks).to(tl.int64) * BLOCK_H + tl.arange(0, BLOCK_H)[:, None]
        slot = tl.load(row_slot + row).to(tl.int64)
        mask = (h < num_kv_heads) & (d < HALF) & (slot >= 0)
        low, high = rotated(k + row * stride_k, cos, sin, h, d, mask, stride_kh, HALF)
        where = k_pool + slot * stride_kp + h * stride_kph + d
        tl.store(where, low.to(k_pool.dtype.element_ty), mask=mask)
        tl.store(where + HALF, high.to(k_pool.dtype.element_ty), mask=mask)
        where = v + row * stride_v + h * stride_vh + d
        low, high = tl.load(where, mask=mask), tl.load(where + HALF, mask=mask)
        where = v_pool + slot * stride_vp + h * stride_vph + d
        tl.store(where, low.to(v_pool.dtype.element_ty), mask=mask)
        tl.store(where + HALF, high.to(v_pool.dtype.element_ty), mask=mask)


def rope_store(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    k_pool: torch.Tensor,
    v_pool: torch.Tensor,
    row_slot: torch.Tensor,
) -> torch.Tensor:
    """Rotates k into k_pool and copies v into v_pool, at row_slot; returns q rotated, contiguous [N, Hq, D].

    q: [N, Hq, D]. k, v: [N, Hkv, D]. cos, sin: [N, D] in q's dtype, angles of both halves. k_pool, v_pool, row_slot: as
    in `store_kv`, row_slot of any integer dtype. Equals x * cos + (-x_high, x_low) * sin in q's dtype to the last bit.
    Raises ValueError where the elements of a head do not adjoin, or D is odd or not the size of cos and sin.
    """
    check_layout(q, k, v, cos, sin, k_pool, v_pool)
    num_rows, num_heads, head_dim = q.shape
    if head_dim % 2 or cos.shape != (num_rows, head_dim) or sin.shape != cos.shape:
        raise ValueError(f"cos {tuple(cos.shape)} and sin {tuple(sin.shape)} do not fit queries {tuple(q.shape)}")
    num_kv_heads = k.shape[1]
    half = head_dim // 2
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    rope_store_kernel[(num_rows, triton.cdiv(num_heads, BLOCK_H) + triton.cdiv(num_kv_heads, BLOCK_H))](
        *(q, k, v, cos, sin, out, k_pool, v_pool, row_slot),
        *(q.stride(0), q.stride(1), k.stride(0), k.stride(1), v.stride(0), v.stride(1), cos.stride(0), sin.stride(0)),
        *(k_pool.stride(0), k_pool.stride(1), v_pool.stride(0), v_pool.stride(1), num_heads, num_kv_heads),
        HALF=half,
        BLOCK_H=BLOCK_H,
        BLOCK_HALF=1 << (half - 1).bit_length(),
        num_warps=4,
        enable_fp_fusion=False,  # a product folded into a sum is not rounded, and float32 rows would differ
    )
    return out
