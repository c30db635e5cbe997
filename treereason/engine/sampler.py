"""Sampling as a pure function of a branch's key, the position and the logits: no generator, no state.

Gumbel-max (argmax of logits / T + Gumbel noise draws from the softmax; Gumbel 1954, Maddison et al. 2014) with
noise hashed from (key, position, vocabulary id). What else decodes in the same step cannot change a draw.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b

import torch

BLOCK_IDS = 32768
_LOW_31, _LOW_23 = (1 << 31) - 1, (1 << 23) - 1


def branch_key(seed: int, problem: str, path: Sequence[int]) -> int:
    """Signed 64-bit name of a branch: run seed, problem id, and child ranks from the root."""
    name = json.dumps([seed, problem, *path])
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)


def sample(
    logits: torch.Tensor,
    keys: torch.Tensor,
    positions: torch.Tensor,
    temperature: torch.Tensor,
    top_p: torch.Tensor,
    *,
    nucleus: bool | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One token a row.

    logits: [B, V]. keys, positions: [B] int64. temperature, top_p: [B] float32; temperature 0 is argmax.
    nucleus: whether any top_p is below 1; None asks the tensor, for which the host waits.
    Returns tokens [B] int64 and their log-probabilities [B] float32 under the untempered model.
    """
    logits = logits.float()
    greedy = temperature == 0
    scaled = logits / torch.where(greedy, 1.0, temperature)[:, None]
    if bool((top_p < 1).any()) if nucleus is None else nucleus:
        scaled = _nucleus(scaled, top_p)
    noise = _gumbel(keys, positions, logits.shape[1])
    tokens = torch.where(greedy[:, None], logits, scaled + noise).argmax(dim=1)
    logprobs = logits.log_softmax(dim=1).gather(1, tokens[:, None])[:, 0]
    return tokens, logprobs


def _nucleus(logits: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """All but the smallest set of most likely tokens that reaches top_p become -inf (Holtzman et al. 2019)."""
    ordered, index = logits.softmax(dim=1).sort(dim=1, descending=True, stable=True)
    # A row that keeps everything must: float32 sums reach 1 before the last id.
    outside = (ordered.cumsum(dim=1) - ordered >= top_p[:, None]) & (top_p < 1)[:, None]
    outside[:, 0].fill_(False)
    return logits.masked_fill(outside.scatter(1, index, outside), float("-inf"))


def _gumbel(keys: torch.Tensor, positions: torch.Tensor, vocabulary_size: int) -> torch.Tensor:
    """[B, V] float32 noise. Uniforms are odd multiples of 2^-24, exact in float32: never 0, never 1."""
    row = _mix(_mix(keys) + positions)
    bits = torch.empty(len(row), vocabulary_size, device=keys.device)
    # In blocks, because hashing reads and writes its int64 a dozen times: they stay in the processor's cache. A GPU is
    # better off with few operations.
    on_cpu = keys.device.type == "cpu"
    num_rows = max(1, BLOCK_IDS // vocabulary_size if on_cpu else len(row))
    num_ids = BLOCK_IDS if on_cpu else vocabulary_size
    id_blocks = torch.split(torch.arange(vocabulary_size, device=keys.device), num_ids)
    for of_rows, out in zip(torch.split(row, num_rows), torch.split(bits, num_rows), strict=True):
        for ids, block in zip(id_blocks, torch.split(out, num_ids, dim=1), strict=True):
            block.copy_(_mix(of_rows[:, None] + ids).bitwise_right_shift_(41).bitwise_and_(_LOW_23))
    uniform = bits.add_(0.5).mul_(2.0**-23)
    return uniform.log_().neg_().log_().neg_()


def _mix(x: torch.Tensor) -> torch.Tensor:
    """Finaliser of MurmurHash3 (64 bit, public domain) on int64, which wraps around. Leaves `x` as it is."""
    x = x ^ (x >> 33).bitwise_and_(_LOW_31)
    for constant in (-0xAE502812AA7333, -0x3B314601E57A13AD):
        x.mul_(constant)
        x.bitwise_xor_((x >> 33).bitwise_and_(_LOW_31))
    return x
