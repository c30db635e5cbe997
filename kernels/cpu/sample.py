"""One token per row on a CPU, by the function of sample.cpp."""

from __future__ import annotations

import ctypes

import torch

from treereason.kernels.cpu.library import function

_TYPES = (*[ctypes.c_void_p] * 4, ctypes.c_float, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2, ctypes.c_int)


def compiled_sample(
    logits: torch.Tensor, keys: torch.Tensor, positions: torch.Tensor, temperature: torch.Tensor, lowest: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens [B] int64 and log-probabilities [B] float32 of logits [B, V], drawn from all of them.

    keys, positions: [B] int64. temperature: [B] float32; a row below `lowest` takes its likeliest token.
    """
    logits = logits.float().contiguous()
    tokens, logprobs = torch.empty_like(keys), torch.empty(len(keys))
    inputs = [x.contiguous() for x in (keys, positions, temperature)]  # kept: their addresses are passed
    function("sample_float32", *_TYPES)(
        logits.data_ptr(),
        *[x.data_ptr() for x in inputs],
        lowest,
        tokens.data_ptr(),
        logprobs.data_ptr(),
        *logits.shape,
        torch.get_num_threads(),
    )
    return tokens, logprobs
