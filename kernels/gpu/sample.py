"""From logits to a token and its log-probability, in one pass over the logits: Gumbel-max in two kernels.

The vocabulary is cut into parts of fixed length, one program each. A part leaves its best perturbed logit, that id, and
the running maximum and sum of exponentials (Milakov & Gimelshein 2018). A second kernel folds the parts in order, so
results do not vary from run to run, nor with the rows beside them.

Rows that leave tokens out (top_k, top_p, min_p) keep a prefix of their ids in order of likelihood. The second kernel
asks whether the best id lies in it, which takes the mass and the number of ids before it: one pass over the row. If it
does not, neither does any later one, so the best of those before it is next, and so on. What is accepted is the best of
the prefix, exactly: the prefix itself is never made and nothing is sorted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl

from treereason.kernels.gpu.noise import NOISE_LIMIT, bits_of_ids, gumbel, gumbel_bound, mix, uniform_of_bits
from treereason.kernels.gpu.tile import arch_of

BLOCK = 1024
"""Ids that a program looks at at a time."""
SMALL_TILE = 256
"""Logits at least that a program looks at at a time: of a smaller vocabulary it takes several rows."""
IDS_PER_PART = 8 * BLOCK
STAGES = 3
# One compiled kernel for every batch, and for arrays that are columns of a buffer.
_ANY_VALUE = (
    "num_rows",
    "num_parts",
    "stride_key",
    "stride_position",
    "stride_temperature",
    "stride_top_p",
    "stride_top_k",
)


@dataclass(frozen=True)
class Tile:
    """What a program looks at at a time: so many rows, and ids of each. registers: most a thread may use."""

    rows: int
    block: int
    warps: int
    registers: int

    @classmethod
    def of(cls, num_ids: int, *, whole_rows: bool) -> Tile:
        """For a vocabulary; whole_rows: for programs that may have to read a whole row each."""
        block = min(4 * BLOCK if whole_rows else BLOCK, triton.next_power_of_2(num_ids))
        warps = max(4, block // 256)
        return cls(max(1, SMALL_TILE // block), block, warps, min(255, 2048 // warps) if whole_rows else 96)

    def options(self, arch: str) -> dict[str, int]:
        """Launch options. Left alone, ptxas spills some bytes to fit one more program on a processor of sm_120."""
        options = {"num_warps": self.warps}
        return options if arch.startswith("gfx") else {**options, "maxnreg": self.registers}


@dataclass(frozen=True)
class Cut:
    """What rows leave out: top_p, min_p [B] float32, top_k [B] int32, 0 for all.

    most_k: no top_k is larger; 0 when no row has one.
    """

    top_p: torch.Tensor
    min_p: torch.Tensor
    top_k: torch.Tensor
    most_k: int


@triton.jit  # type: ignore[untyped-decorator]
def _rows(ROWS: tl.constexpr, num_rows):  # type: ignore[no-untyped-def]
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    return row, row < num_rows


@triton.jit
def _divisor(temperature, row, real, stride_temperature, lowest_temperature):  # type: ignore[no-untyped-def]
    """[ROWS, 1]: whether a row is greedy, and what its logits are divided by."""
    given = tl.load(temperature + row * stride_temperature, mask=real, other=0.0)[:, None]
    greedy = given < lowest_temperature
    return greedy, tl.where(greedy, 1.0, given)


@triton.jit
def _hashed(keys, positions, row, real, stride_key, stride_position):  # type: ignore[no-untyped-def]
    """[ROWS, 1] uint64: what the noise of a row's ids begins with."""
    key = tl.load(keys + row * stride_key, mask=real, other=0).to(tl.uint64)
    position = tl.load(positions + row * stride_position, mask=real, other=0).to(tl.uint64)
    return mix(mix(key) + position)[:, None]


@triton.jit
def _logits(logits, row, real, ids, num_ids, stride_logits):  # type: ignore[no-untyped-def]
    """[ROWS, BLOCK] float32, -inf past the last id. NaN becomes +inf: either makes the sum of exponentials NaN."""
    inside = real[:, None] & (ids < num_ids)
    x = tl.load(logits + row[:, None].to(tl.int64) * stride_logits + ids, mask=inside, other=float("-inf"))
    x = x.to(tl.float32)
    return tl.where(x != x, float("inf"), x)


@triton.jit
def _better(best, best_id, values, ids):  # type: ignore[no-untyped-def]
    """The best so far [ROWS, 1] and its id, after a block whose ids are larger: of equals the smallest id stays."""
    highest = tl.max(values, axis=1)[:, None]
    first = tl.min(tl.where(values == highest, ids, 0x7FFFFFFF), axis=1)[:, None]
    better = highest > best
    return tl.where(better, highest, best), tl.where(better, first, best_id)


@triton.jit
def _finite(top):  # type: ignore[no-untyped-def]
    """A maximum that can be subtracted: 0 where there is nothing but -inf."""
    return tl.where(top == float("-inf"), 0.0, top)


@triton.jit(do_not_specialize=_ANY_VALUE)  # type: ignore[untyped-decorator]
def sample_parts_kernel(  # type: ignore[no-untyped-def]
    logits, keys, positions, temperature, lowest,
    part_best, part_id, part_top, part_total, part_tempered,
    stride_logits, stride_key, stride_position, stride_temperature, num_rows, num_ids, lowest_temperature,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, PART: tl.constexpr, STAGES: tl.constexpr, CUTS: tl.constexpr,
):  # fmt: skip
    """Grid (row blocks, parts): what a part of the vocabulary says about ROWS rows. part_*: [B, parts].

    lowest: [B], with CUTS: an id whose tempered logit is below is not drawn.
    """
    row, real = _rows(ROWS, num_rows)
    greedy, divisor = _divisor(temperature, row, real, stride_temperature, lowest_temperature)
    inverse = 1.0 / divisor
    hashed = _hashed(keys, positions, row, real, stride_key, stride_position)
    if CUTS:
        bound = tl.load(lowest + row, mask=real, other=float("-inf"))[:, None]
        bound = tl.where(greedy, float("-inf"), bound)
    first = tl.program_id(1) * PART
    best = tl.full([ROWS, 1], float("-inf"), tl.float32)
    best_id = tl.full([ROWS, 1], 0, tl.int32) + first
    top = tl.full([ROWS, 1], float("-inf"), tl.float32)
    total = tl.zeros([ROWS, BLOCK], tl.float32)
    tempered = tl.zeros([ROWS, BLOCK], tl.float32)
    for start in tl.range(first, tl.minimum(first + PART, num_ids), BLOCK, num_stages=STAGES):
        ids = start + tl.arange(0, BLOCK)[None, :]
        x = _logits(logits, row, real, ids, num_ids, stride_logits)
        new_top = tl.maximum(top, tl.max(x, axis=1)[:, None])
        base = _finite(new_top)
        total = total * tl.exp(top - base) + tl.exp(x - base)
        if CUTS:
            tempered_base = tl.div_rn(base, divisor)
            tempered = tempered * tl.exp(tl.div_rn(top, divisor) - tempered_base)
            tempered += tl.exp(tl.div_rn(x, divisor) - tempered_base)
        top = new_top
        # Rounding keeps order: a block whose largest logit loses with the largest noise holds no better id.
        highest = tl.div_rn(tl.max(x, axis=1)[:, None], divisor)
        may = tl.where(greedy, highest, highest + NOISE_LIMIT) > best
        if tl.max(may.to(tl.int32)) > 0:
            uniform = uniform_of_bits(bits_of_ids(hashed, ids))
            reach = tl.max(x * inverse + gumbel_bound(uniform), axis=1)[:, None]
            # An id that wins is at least best - NOISE_LIMIT before its noise, which bounds the rounding of x * inverse.
            reach += 1e-6 * (tl.abs(highest) + tl.abs(best) + NOISE_LIMIT)
            may &= greedy | (reach > best)
            if tl.max(may.to(tl.int32)) > 0:
                scaled = tl.div_rn(x, divisor)
                drawn = tl.where(greedy, scaled, scaled + gumbel(uniform))
                if CUTS:
                    drawn = tl.where(scaled >= bound, drawn, float("-inf"))
                best, best_id = _better(best, best_id, drawn, ids)
    part = row[:, None] * tl.num_programs(1) + tl.program_id(1)
    tl.store(part_best + part, best, mask=real[:, None])
    tl.store(part_id + part, best_id, mask=real[:, None])
    tl.store(part_top + part, top, mask=real[:, None])
    tl.store(part_total + part, tl.sum(total, axis=1)[:, None], mask=real[:, None])
    if CUTS:
        tl.store(part_tempered + part, tl.sum(tempered, axis=1)[:, None], mask=real[:, None])


@triton.jit(do_not_specialize=_ANY_VALUE)  # type: ignore[untyped-decorator]
def sample_finish_kernel(  # type: ignore[no-untyped-def]
    logits, keys, positions, temperature, lowest, log_total_k, top_p, log_min_p, top_k,
    part_best, part_id, part_top, part_total, part_tempered, tokens, logprobs,
    stride_logits, stride_key, stride_position, stride_temperature, stride_top_p, stride_top_k,
    num_rows, num_ids, num_parts, lowest_temperature,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, PARTS: tl.constexpr, STAGES: tl.constexpr, CUTS: tl.constexpr,
):  # fmt: skip
    """Grid (row blocks,): tokens [B] int64 and logprobs [B] float32 of ROWS rows.

    With CUTS: log_min_p [B]; log_total_k [B], log of the sum of exponentials over a row's top_k likeliest ids, read
    where it has a top_k; lowest [B], the tempered logit of the last of them, else -inf.
    """
    row, real = _rows(ROWS, num_rows)
    part = tl.arange(0, PARTS)[None, :]
    inside = real[:, None] & (part < num_parts)
    at = row[:, None] * num_parts + part
    _best, best_id = _better(
        tl.full([ROWS, 1], float("-inf"), tl.float32),
        tl.full([ROWS, 1], 0, tl.int32),
        tl.load(part_best + at, mask=inside, other=float("-inf")),
        tl.load(part_id + at, mask=inside, other=0x7FFFFFFF),
    )
    tops = tl.load(part_top + at, mask=inside, other=float("-inf"))
    top = tl.max(tops, axis=1)[:, None]
    base = _finite(top)
    weights = tl.load(part_total + at, mask=inside, other=0.0)
    total = tl.sum(weights * tl.exp(tops - base), axis=1)[:, None]
    if CUTS:
        greedy, divisor = _divisor(temperature, row, real, stride_temperature, lowest_temperature)
        hashed = _hashed(keys, positions, row, real, stride_key, stride_position)
        nucleus = tl.load(top_p + row * stride_top_p, mask=real, other=1.0)[:, None]
        share = tl.load(log_min_p + row, mask=real, other=float("-inf"))[:, None]
        most = tl.load(top_k + row * stride_top_k, mask=real, other=0)[:, None]
        highest = tl.div_rn(top, divisor)
        weights = tl.load(part_tempered + at, mask=inside, other=0.0)
        weights = weights * tl.exp(tl.div_rn(tops, divisor) - tl.div_rn(base, divisor))
        log_total = tl.log(tl.sum(weights, axis=1)[:, None]) + highest
        log_total = tl.where(most > 0, tl.load(log_total_k + row, mask=real, other=0.0)[:, None], log_total)
        bound = tl.maximum(tl.load(lowest + row, mask=real, other=float("-inf"))[:, None], highest + share)
        cut = (nucleus < 1) | (most > 0) | (share > float("-inf"))
        # A sum that is not a number marks a row without a distribution.
        asking = cut & (total == total) & (top > float("-inf")) & (greedy == 0) & real[:, None]
        while tl.max(asking.to(tl.int32)) > 0:
            own = tl.load(
                logits + row[:, None].to(tl.int64) * stride_logits + best_id, mask=real[:, None], other=0.0
            ).to(tl.float32)
            own = tl.div_rn(own, divisor)
            mass = tl.zeros([ROWS, BLOCK], tl.float32)
            rank = tl.zeros([ROWS, BLOCK], tl.int32)
            next_best = tl.full([ROWS, 1], float("-inf"), tl.float32)
            next_id = best_id
            for start in tl.range(0, num_ids, BLOCK, num_stages=STAGES):
                ids = start + tl.arange(0, BLOCK)[None, :]
                scaled = tl.div_rn(_logits(logits, row, real, ids, num_ids, stride_logits), divisor)
                before = (scaled > own) | ((scaled == own) & (ids < best_id))
                mass += tl.where(before, tl.exp(scaled - log_total), 0.0)
                rank += before.to(tl.int32)
                scaled = tl.where(before & (scaled >= bound) & asking, scaled, float("-inf"))
                likeliest = tl.max(scaled, axis=1)[:, None]
                may = (likeliest > float("-inf")) & (likeliest + NOISE_LIMIT >= next_best)
                if tl.max(may.to(tl.int32)) > 0:
                    next_best, next_id = _better(
                        next_best, next_id, scaled + gumbel(uniform_of_bits(bits_of_ids(hashed, ids))), ids
                    )
            num_before = tl.sum(rank, axis=1)[:, None]
            outside = (tl.sum(mass, axis=1)[:, None] >= nucleus) & (nucleus < 1)
            outside |= (num_before >= most) & (most > 0)
            outside |= own < highest + share
            asking = asking & outside & (num_before > 0)
            best_id = tl.where(asking, next_id, best_id)
    chosen = logits + row[:, None].to(tl.int64) * stride_logits + best_id
    logit = tl.load(chosen, mask=real[:, None], other=0.0).to(tl.float32)
    tl.store(tokens + row[:, None], best_id.to(tl.int64), mask=real[:, None])
    tl.store(logprobs + row[:, None], logit - top - tl.log(total), mask=real[:, None])


def fused_sample(
    logits: torch.Tensor,
    keys: torch.Tensor,
    positions: torch.Tensor,
    temperature: torch.Tensor,
    *,
    lowest_temperature: float,
    cut: Cut | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One token per row: the argmax of logits / temperature + noise; of logits, below the lowest temperature.

    logits: [B, V] of any float dtype and row stride. keys, positions: [B] int64. temperature: [B] float32. cut: what
    rows leave out; None when no row does.
    Returns tokens [B] int64 and their log-probabilities [B] float32 under the untempered model, NaN where a row of
    logits has a NaN or +inf, or nothing but -inf; its token is then any id. Of equals the smallest id wins. Waits for
    nothing and asks for no value, so it can be captured.
    """
    if logits.stride(1) != 1:
        logits = logits.contiguous()
    num_rows, num_ids = logits.shape
    num_parts = triton.cdiv(num_ids, IDS_PER_PART)
    floats = torch.empty(5, num_rows, num_parts, dtype=torch.float32, device=logits.device)
    tokens = torch.empty(num_rows, dtype=torch.int64, device=logits.device)
    values = {
        "logits": logits,
        "keys": keys,
        "positions": positions,
        "temperature": temperature,
        "part_best": floats[0],
        "part_id": floats[1].view(torch.int32),
        "part_top": floats[2],
        "part_total": floats[3],
        "part_tempered": floats[4],
        "tokens": tokens,
        "logprobs": torch.empty(num_rows, dtype=torch.float32, device=logits.device),
        "stride_logits": logits.stride(0),
        "stride_key": keys.stride(0),
        "stride_position": positions.stride(0),
        "stride_temperature": temperature.stride(0),
        "num_rows": num_rows,
        "num_ids": num_ids,
        "num_parts": num_parts,
        "lowest_temperature": lowest_temperature,
        **_cut_values(logits, temperature.clamp_min(lowest_temperature), cut),
    }
    cuts = cut is not None
    tile = Tile.of(num_ids, whole_rows=False)
    _launch(sample_parts_kernel, num_parts, values, tile, CUTS=cuts, PART=IDS_PER_PART, STAGES=STAGES)
    tile = Tile.of(num_ids, whole_rows=cuts)
    parts = triton.next_power_of_2(num_parts)
    _launch(sample_finish_kernel, 1, values, tile, CUTS=cuts, PARTS=parts, STAGES=STAGES)
    return tokens, values["logprobs"]


def _launch(
    kernel: triton.JITFunction, num_parts: int, values: Mapping[str, Any], tile: Tile, **constants: int
) -> None:
    """Launches a kernel with the values that it names, for all rows and so many parts of each."""
    constants |= {"ROWS": tile.rows, "BLOCK": tile.block}
    named = {name: values[name] for name in kernel.arg_names if name not in constants}
    grid = (triton.cdiv(values["num_rows"], tile.rows), num_parts)
    kernel[grid](**named, **constants, **tile.options(arch_of(values["logits"].device)))


def _cut_values(logits: torch.Tensor, divisor: torch.Tensor, cut: Cut | None) -> dict[str, Any]:
    """What the kernels read about cuts, by name; pointers are asked for without any as well."""
    if cut is None:
        nothing = dict.fromkeys(("lowest", "log_total_k", "top_p", "log_min_p", "top_k"), divisor)
        return {**nothing, "stride_top_p": 1, "stride_top_k": 1}
    lowest, log_total_k = _of_top_k(logits, divisor, cut)
    return {
        "lowest": lowest,
        "log_total_k": log_total_k,
        "top_p": cut.top_p,
        "log_min_p": cut.min_p.log(),
        "top_k": cut.top_k,
        "stride_top_p": cut.top_p.stride(0),
        "stride_top_k": cut.top_k.stride(0),
    }


def _of_top_k(logits: torch.Tensor, divisor: torch.Tensor, cut: Cut) -> tuple[torch.Tensor, torch.Tensor]:
    """[B] the tempered logit of each row's last id within top_k, -inf without one; and log of the sum of exponentials
    of those up to it.
    """
    if not cut.most_k:
        nothing = torch.full_like(divisor, float("-inf"))
        return nothing, nothing
    best = logits.topk(min(cut.most_k, logits.shape[1])).values.float() / divisor[:, None]
    beyond = torch.arange(best.shape[1], device=best.device) >= cut.top_k[:, None]
    log_total = best.masked_fill(beyond, float("-inf")).logsumexp(dim=1)
    last = (cut.top_k - 1).clamp(0, best.shape[1] - 1)[:, None].long()
    return best.gather(1, last)[:, 0].masked_fill(cut.top_k == 0, float("-inf")), log_total
