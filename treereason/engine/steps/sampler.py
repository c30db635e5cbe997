"""Sampling as a pure function of a branch's key, the position and the logits: no generator, no state.

Gumbel-max (argmax of logits / T + Gumbel noise draws from the softmax; Gumbel 1954, Maddison et al. 2014) with
noise hashed from (key, position, vocabulary id). What else decodes in the same step cannot change a draw.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from importlib.util import find_spec

import numpy as np
import torch

from treereason.core.prompt import LOWEST_TEMPERATURE
from treereason.engine.steps.sampling_rows import SamplingRows
from treereason.kernels.cpu.sample import compiled_sample

BLOCK_IDS = 32768
LARGE_VOCABULARY = 8192
"""From so many ids on, a CPU first looks which can be drawn at all: most cannot (docs/log.md)."""
NOISE_LIMIT = 16.7
"""Above the largest noise that `_gumbel` gives, 16.64."""
_LOW_31, _LOW_23 = (1 << 31) - 1, (1 << 23) - 1


def branch_key(seed: int, problem: str, path: Sequence[int]) -> int:
    """Signed 64-bit name of a branch: run seed, problem id, and child ranks from the root."""
    name = json.dumps([seed, problem, *path])
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)


def sample(
    logits: torch.Tensor,
    keys: torch.Tensor,
    positions: torch.Tensor,
    rows: SamplingRows,
    *,
    compiled: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One token per row; on a GPU by kernels that draw the same (kernels/gpu/sample.py).

    compiled: on a CPU, draw rows from which nothing is left out by kernels/cpu/sample.cpp, the same again.

    logits: [B, V]. keys, positions: [B] int64. rows: how each is drawn; argmax at temperature 0 and next to it.
    Returns tokens [B] int64 and their log-probabilities [B] float32 under the untempered model, NaN where a row of
    logits has a NaN or +inf, or nothing but -inf.
    """
    if compiled and not rows.cuts.some:
        return compiled_sample(logits, keys, positions, rows.temperature, LOWEST_TEMPERATURE)
    draw = _sample_fused if _has_kernels(logits.device) else sample_by_torch
    return draw(logits, keys, positions, rows)


def _has_kernels(device: torch.device) -> bool:
    return device.type == "cuda" and find_spec("triton") is not None


def _sample_fused(
    logits: torch.Tensor, keys: torch.Tensor, positions: torch.Tensor, rows: SamplingRows
) -> tuple[torch.Tensor, torch.Tensor]:
    # Imported here: an engine without Triton imports this module too.
    from treereason.kernels.gpu.sample import Cut, fused_sample

    cut = Cut(rows.top_p, rows.min_p, rows.top_k, rows.cuts.most_k) if rows.cuts.some else None
    return fused_sample(logits, keys, positions, rows.temperature, lowest_temperature=LOWEST_TEMPERATURE, cut=cut)


def sample_by_torch(
    logits: torch.Tensor, keys: torch.Tensor, positions: torch.Tensor, rows: SamplingRows
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `sample`, operation by operation on any device."""
    logits = logits.float()
    greedy = rows.temperature < LOWEST_TEMPERATURE
    divisor = torch.where(greedy, 1.0, rows.temperature)[:, None]
    best = logits.topk(min(rows.cuts.most_k, logits.shape[1])).values if rows.cuts.most_k else None
    log_total = _log_total(logits, divisor, best, rows.top_k) if rows.cuts.some else None
    likely = None
    if logits.device.type == "cpu" and logits.shape[1] >= LARGE_VOCABULARY:
        lowest = _lowest(logits, keys, positions, divisor, greedy, log_total, best, rows)
        likely = _ids_from(lowest, logits)
    if likely is None:
        ids, near = torch.arange(logits.shape[1], device=logits.device).expand(len(logits), -1), logits
    else:
        ids, near = likely, logits.gather(1, likely.clamp_min(0)).masked_fill_(likely < 0, float("-inf"))
    scaled = near / divisor
    if log_total is not None:
        scaled = _cut(scaled, log_total, rows)
    drawn = torch.where(greedy[:, None], near, scaled + _gumbel(keys, positions, ids))
    tokens = ids.gather(1, drawn.argmax(dim=1, keepdim=True)).clamp_min(0)
    logprobs = logits.log_softmax(dim=1).gather(1, tokens)
    return tokens[:, 0], logprobs[:, 0]


def _log_total(
    logits: torch.Tensor, divisor: torch.Tensor, best: torch.Tensor | None, top_k: torch.Tensor
) -> torch.Tensor:
    """[B, 1] log of the sum of exponentials of logits / divisor, over the top_k likeliest ids where there is a top_k.

    best: [B, K] the largest logits in order, at least as many as any top_k.
    """
    num_rows = max(1, BLOCK_IDS // logits.shape[1]) if logits.device.type == "cpu" else len(logits)
    blocks = zip(torch.split(logits, num_rows), torch.split(divisor, num_rows), strict=True)
    of_all = torch.cat([(some / of_rows).logsumexp(dim=1, keepdim=True) for some, of_rows in blocks])
    if best is None:
        return of_all
    beyond = torch.arange(best.shape[1], device=best.device) >= top_k[:, None]
    of_best = (best / divisor).masked_fill(beyond, float("-inf")).logsumexp(dim=1, keepdim=True)
    return torch.where(top_k[:, None] > 0, of_best, of_all)


def _lowest(
    logits: torch.Tensor,
    keys: torch.Tensor,
    positions: torch.Tensor,
    divisor: torch.Tensor,
    greedy: torch.Tensor,
    log_total: torch.Tensor | None,
    best: torch.Tensor | None,
    rows: SamplingRows,
) -> torch.Tensor:
    """[B, 1] a logit below which no id can be drawn.

    An id cannot if no noise lifts it above the likeliest one with its noise; if it is so unlikely that all such ids
    together lie outside the nucleus; if its share is below min_p; or if top_k others are likelier.
    """
    top = logits.argmax(dim=1, keepdim=True)
    highest = logits.gather(1, top) / divisor
    rounding = 1e-6 * highest.abs()
    reach = NOISE_LIMIT - _gumbel(keys, positions, top) + rounding
    bound = highest - torch.where(greedy[:, None], 0.0, reach)
    if log_total is None:
        return bound * divisor
    share = torch.log((1 - rows.top_p[:, None]) / (2 * logits.shape[1]))
    bound = torch.maximum(bound, log_total + share)
    bound = torch.maximum(bound, highest + rows.min_p.log()[:, None] * (1 + 1e-6) - rounding) * divisor
    if best is None:
        return bound
    last = (rows.top_k - 1).clamp(0, best.shape[1] - 1)[:, None].long()
    return torch.where(rows.top_k[:, None] > 0, torch.maximum(bound, best.gather(1, last)), bound)


def _ids_from(lowest: torch.Tensor, logits: torch.Tensor) -> torch.Tensor | None:
    """The ids of each row whose logit is at least the row's lowest, ascending, [B, K] padded with -1; None if they are
    not few.
    """
    can = logits >= lowest
    if can.count_nonzero() > can.numel() // 8:
        return None
    row, token = np.divmod(np.flatnonzero(can.numpy()), logits.shape[1])
    count = np.bincount(row, minlength=len(logits))
    ids = np.full((len(logits), max(1, int(count.max()))), -1)
    ids[row, np.arange(len(row)) - (count.cumsum() - count)[row]] = token
    return torch.from_numpy(ids)


def _cut(scaled: torch.Tensor, log_total: torch.Tensor, rows: SamplingRows) -> torch.Tensor:
    """What a row leaves out becomes -inf.

    Left out are: all but the top_k likeliest ids (Fan et al. 2018), of equals the first; of those, all but the smallest
    set of likeliest ids that reaches top_p (Holtzman et al. 2019); and ids whose probability is below min_p times that
    of the likeliest one (Nguyen et al. 2024).
    log_total: [B, 1] log of the sum of exponentials over the whole vocabulary, or its top_k likeliest ids.
    """
    ordered, index = scaled.sort(dim=1, descending=True, stable=True)
    top_p, min_p, top_k = (values[:, None] for values in (rows.top_p, rows.min_p, rows.top_k))
    share = (ordered - log_total).exp_()
    # A row that keeps everything must: float32 sums reach 1 before the last id.
    outside = (share.cumsum(dim=1) - share >= top_p) & (top_p < 1)
    outside |= ordered < ordered[:, :1] + min_p.log()
    outside |= (torch.arange(scaled.shape[1], device=scaled.device) >= top_k) & (top_k > 0)
    outside[:, 0].fill_(False)
    return scaled.masked_fill(outside.scatter(1, index, outside), float("-inf"))


def _gumbel(keys: torch.Tensor, positions: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """[B, K] float32 noise of vocabulary ids [B, K].

    Uniforms are odd multiples of 2^-24, exact in float32: never 0, never 1.
    """
    row = _mix(_mix(keys) + positions)[:, None]
    bits = torch.empty(ids.shape, device=keys.device)
    # In blocks, because hashing reads and writes its int64 a dozen times: they stay in the processor's cache. A GPU is
    # better off with few operations.
    num_ids = BLOCK_IDS if keys.device.type == "cpu" else max(1, ids.numel())
    num_rows = max(1, num_ids // ids.shape[1])
    for of_rows, of_ids, out in zip(*(torch.split(x, num_rows) for x in (row, ids, bits)), strict=True):
        for some, block in zip(*(torch.split(x, num_ids, dim=1) for x in (of_ids, out)), strict=True):
            block.copy_(_mix(of_rows + some).bitwise_right_shift_(41).bitwise_and_(_LOW_23))
    uniform = bits.add_(0.5).mul_(2.0**-23)
    return uniform.log_().neg_().log_().neg_()


def _mix(x: torch.Tensor) -> torch.Tensor:
    """Finaliser of MurmurHash3 (64 bit, public domain) on int64, which wraps around. Leaves `x` as it is."""
    x = x ^ (x >> 33).bitwise_and_(_LOW_31)
    for constant in (-0xAE502812AA7333, -0x3B314601E57A13AD):
        x.mul_(constant)
        x.bitwise_xor_((x >> 33).bitwise_and_(_LOW_31))
    return x
