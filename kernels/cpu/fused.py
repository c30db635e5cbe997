"""Norms and gates of models on a CPU, one pass over each row: the functions of rows.cpp.

The same as kernels/gpu/rms_norm.py and kernels/gpu/silu_mul.py.
"""

from __future__ import annotations

import ctypes

import torch

from treereason.kernels.cpu.library import SUFFIXES, function
from treereason.kernels.norm_form import PLAIN, NormForm

COLUMN_STEP = 16
"""Rows have a multiple of so many elements."""
_NORM_TYPES = (*[ctypes.c_void_p] * 5, *[ctypes.c_int64] * 2, *[ctypes.c_float] * 2, *[ctypes.c_int] * 2)
_GATE_TYPES = (*[ctypes.c_void_p] * 3, *[ctypes.c_int64] * 3, ctypes.c_int)


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float, form: NormForm = PLAIN) -> torch.Tensor:
    """x [..., W] over its root mean square, times weight [W]: contiguous, in x's dtype.

    Raises ValueError for other than float32 and bfloat16, weights of another dtype, and rows that do not fill vectors.
    """
    out, _ = _norm(x, None, weight, eps, form)
    return out


def add_rms_norm(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, eps: float, form: NormForm = PLAIN
) -> tuple[torch.Tensor, torch.Tensor]:
    """(rms_norm(residual + x), residual + x), the sum rounded to x's dtype first. x, residual: [..., W], of one dtype.

    Raises as rms_norm does.
    """
    out, total = _norm(x, residual, weight, eps, form)
    assert total is not None
    return out, total


def silu_mul(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """silu(gate), rounded to the dtype, times up; gate and up [..., W] of one shape, dtype and strides: contiguous.

    Raises ValueError where they differ, and as rms_norm does.
    """
    if gate.shape != up.shape or gate.dtype != up.dtype:
        raise ValueError(f"gate is {tuple(gate.shape)} {gate.dtype}, up {tuple(up.shape)} {up.dtype}")
    num_columns = gate.shape[-1]
    suffix = _suffix(gate, num_columns)
    gates, ups = (x.reshape(-1, num_columns) for x in (gate, up))
    if gates.stride() != ups.stride() or gates.stride(-1) != 1:
        raise ValueError(f"rows of gate and up lie at {gates.stride()} and {ups.stride()}: give both the same")
    out = torch.empty(gate.shape, dtype=gate.dtype)
    call = function(f"silu_mul_{suffix}", *_GATE_TYPES)
    sizes = len(gates), num_columns, gates.stride(0)
    call(gates.data_ptr(), ups.data_ptr(), out.data_ptr(), *sizes, torch.get_num_threads())
    return out


def _norm(
    x: torch.Tensor, residual: torch.Tensor | None, weight: torch.Tensor, eps: float, form: NormForm
) -> tuple[torch.Tensor, torch.Tensor | None]:
    num_columns = x.shape[-1]
    suffix = _suffix(x, num_columns)
    if weight.dtype != x.dtype or not weight.is_contiguous():
        raise ValueError(
            f"the weight is {weight.dtype}, the rows are {x.dtype}: they should be the same, and the weight contiguous"
        )
    x = x.contiguous()
    out = torch.empty_like(x)
    total = None if residual is None else torch.empty_like(x)
    residual = None if residual is None else residual.contiguous()
    addresses = (None if tensor is None else tensor.data_ptr() for tensor in (x, residual, weight, total, out))
    numbers = eps, float(form.one_more), form.late_cast
    call = function(f"rms_norm_{suffix}", *_NORM_TYPES)
    call(*addresses, x.numel() // num_columns, num_columns, *numbers, torch.get_num_threads())
    return out, total


def _suffix(x: torch.Tensor, num_columns: int) -> str:
    if x.dtype not in SUFFIXES or num_columns % COLUMN_STEP:
        raise ValueError(f"rows of {num_columns} elements of {x.dtype}: a multiple of {COLUMN_STEP} of {[*SUFFIXES]}")
    return SUFFIXES[x.dtype]
