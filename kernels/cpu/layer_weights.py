"""The weights of a decoder layer as decoder_layers.cpp takes them."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import ClassVar

import torch

from treereason.kernels.norm_form import NormForm
from treereason.kernels.options import AttentionOptions


@dataclass(frozen=True)
class Norm:
    """A root mean square norm: its weight [width], epsilon and form."""

    weight: torch.Tensor
    eps: float
    form: NormForm


@dataclass(frozen=True)
class Matrix:
    """A linear layer: its packed weight (linear.py), and its bias [outputs] or None."""

    packed: torch.Tensor
    bias: torch.Tensor | None


class _Weights(ctypes.Structure):
    """`Weights` of decoder_layers.cpp."""

    _fields_: ClassVar = [
        *[(name, ctypes.c_void_p) for name in ("first_norm", "second_norm", "qkv_bias", "out_bias", "gate_up_bias")],
        *[(name, ctypes.c_void_p) for name in ("down_bias", "qkv", "out", "gate_up", "down")],
        *[(name, ctypes.c_int64) for name in ("width", "inner_width")],
        *[(name, ctypes.c_float) for name in ("first_eps", "second_eps", "first_more", "second_more")],
        *[(name, ctypes.c_int32) for name in ("first_late", "second_late")],
    ]


class LayerWeights:
    """Norms before attention and the gated network; matrices of q, k and v, of the output, of gate and up, of down.

    index: which layer of the model it is. num_heads: query heads. head_dim: of queries, keys and values. inner_width:
    of the gated network. All tensors are kept, and of one dtype.
    """

    def __init__(
        self,
        first: Norm,
        second: Norm,
        qkv: Matrix,
        out: Matrix,
        gate_up: Matrix,
        down: Matrix,
        *,
        index: int,
        options: AttentionOptions,
        num_heads: int,
        num_kv_heads: int,
        head_dim: int,
        inner_width: int,
    ) -> None:
        self.index, self.options = index, options
        self.num_heads, self.num_kv_heads, self.head_dim = num_heads, num_kv_heads, head_dim
        self._kept = first, second, qkv, out, gate_up, down
        self.numbers = _Weights(width=len(first.weight), inner_width=inner_width)
        for name, norm in (("first", first), ("second", second)):
            setattr(self.numbers, f"{name}_norm", norm.weight.data_ptr())
            setattr(self.numbers, f"{name}_eps", norm.eps)
            setattr(self.numbers, f"{name}_more", float(norm.form.one_more))
            setattr(self.numbers, f"{name}_late", norm.form.late_cast)
        for name, matrix in (("qkv", qkv), ("out", out), ("gate_up", gate_up), ("down", down)):
            setattr(self.numbers, name, matrix.packed.data_ptr())
            setattr(self.numbers, f"{name}_bias", None if matrix.bias is None else matrix.bias.data_ptr())
