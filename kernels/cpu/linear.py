"""Linear layers on a CPU by the functions of linear.cpp: quicker than oneDNN's for the few rows of a decode step.

A row's result has the same bits whatever other rows are computed beside it.
"""

from __future__ import annotations

import ctypes

import torch

from treereason.kernels.cpu.library import SUFFIXES, function

_WORDS_TYPES = ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p
_PACK_TYPES = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p
_LINEAR_TYPES = (*[ctypes.c_void_p] * 4, *[ctypes.c_int64] * 3, ctypes.c_int)


def can_pack(weight: torch.Tensor) -> bool:
    """Whether a weight [outputs, inputs] is of a dtype and size that linear.cpp reads: whole words of inputs."""
    return weight.device.type == "cpu" and weight.dtype in SUFFIXES and weight.shape[1] % 2 == 0


def pack_weight(weight: torch.Tensor) -> torch.Tensor:
    """The words of a weight [outputs, inputs] in the order in which `linear` reads them, int32."""
    num_outputs, num_inputs = weight.shape
    suffix = SUFFIXES[weight.dtype]
    num_words = ctypes.c_int64()
    function(f"packed_words_{suffix}", *_WORDS_TYPES)(num_outputs, num_inputs, ctypes.addressof(num_words))
    packed = torch.empty(num_words.value, dtype=torch.int32)
    function(f"pack_{suffix}", *_PACK_TYPES)(weight.contiguous().data_ptr(), num_outputs, num_inputs, packed.data_ptr())
    return packed


def linear(x: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor | None, num_outputs: int) -> torch.Tensor:
    """x [..., inputs] times a packed weight, plus bias [outputs]: [..., outputs], of x's dtype."""
    x = x.contiguous()
    num_inputs = x.shape[-1]
    out = torch.empty(*x.shape[:-1], num_outputs, dtype=x.dtype)
    multiply = function(f"linear_{SUFFIXES[x.dtype]}", *_LINEAR_TYPES)
    addresses = x.data_ptr(), packed.data_ptr(), None if bias is None else bias.data_ptr(), out.data_ptr()
    multiply(*addresses, x.numel() // num_inputs, num_outputs, num_inputs, torch.get_num_threads())
    return out
