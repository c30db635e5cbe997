"""What every Triton kernel here shares: tile shapes, and one online-softmax step over one KV tile.

A tile of queries holds the G query heads of one KV head for BLOCK_M // G rows: tile row i is query row
lo + i // G and head i % G. A tile of KV is up to BLOCK_N // PAGE entries of the plan's page table, which may belong to
several nodes. Softmax runs in base 2, because the hardware's exponential does.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)
LN2 = tl.constexpr(0.6931471805599453)

BLOCK_MS = (16, 32, 64, 128)


@dataclass(frozen=True)
class Tile:
    """Compile-time shape of a kernel: query tile rows, KV tile tokens, and the compiler's knobs.

    registers: most a thread may use. Unset, ptxas spills a little to fit more programs on a processor; a grid of one
    program per processor gains nothing from that. AMD's compiler has no such knob.
    """

    block_m: int
    block_n: int
    warps: int
    stages: int
    registers: int | None = None

    def rows(self, group_size: int) -> int:
        """Query rows per tile, each of `group_size` heads of one KV head. Raises ValueError when none fits."""
        if group_size > self.block_m:
            raise ValueError(f"{group_size} query heads per KV head do not fit a tile of {self.block_m} rows")
        return self.block_m // group_size

    def options(self) -> dict[str, int]:
        """Launch options."""
        options = {"num_warps": self.warps, "num_stages": self.stages}
        return options if self.registers is None else {**options, "maxnreg": self.registers}


def choose_tile(query_rows: int, head_dim: int, dtype: torch.dtype, arch: str) -> Tile:
    """The smallest tile that holds `query_rows` (rows x G), among those that compile without spills (docs/kernels.md).

    arch: "sm_80", "sm_90" or "gfx942".
    """
    wide = max(64, block_d(head_dim))
    if dtype == torch.float32:
        most, block_n, eight_warps_from = {64: 64, 128: 32, 256: 16}[wide], 16, 32
    elif arch == "sm_90":
        most, block_n, eight_warps_from = 128, 64, 32 if head_dim < block_d(head_dim) else 128  # masks take registers
        if wide > 128:
            most, block_n, eight_warps_from = 64, 16 if query_rows > 32 else 32, 64
    elif arch == "sm_80":
        most, block_n, eight_warps_from = {64: 128, 128: 64, 256: 32}[wide], 32, 64
    else:
        most, block_n, eight_warps_from = 64 if wide > 128 else 128, 32, 256
    block_m = next(m for m in BLOCK_MS if m >= min(query_rows, most))
    registers = None if arch == "gfx942" else 255
    return Tile(block_m, block_n, warps=8 if block_m >= eight_warps_from else 4, stages=2, registers=registers)


def arch_of(device: torch.device | str) -> str:
    """The architecture whose tile shapes suit a device; the interpreter takes those of sm_90."""
    if torch.device(device).type != "cuda" or torch.version.hip is None:
        modern = torch.device(device).type != "cuda" or torch.cuda.get_device_capability(device)[0] >= 9
        return "sm_90" if modern else "sm_80"
    return "gfx942"


def programs(device: torch.device | str) -> int:
    """Processors of a device; a few for the interpreter."""
    if torch.device(device).type != "cuda":
        return 4
    return torch.cuda.get_device_properties(device).multi_processor_count


def check_layout(*tensors: torch.Tensor) -> None:
    """The elements of a head must adjoin, else ValueError; any other stride will do."""
    if any(tensor.stride(-1) != 1 for tensor in tensors):
        raise ValueError("the last dimension of q, k and v must be contiguous")


def block_d(head_dim: int) -> int:
    """Head size as tiles see it; 96 is padded to 128, masked on load."""
    return 1 << (head_dim - 1).bit_length()


@triton.jit  # type: ignore[untyped-decorator]
def query_tile(  # type: ignore[no-untyped-def]
    q, row_lo, row_hi, head, stride_row, stride_head, G: tl.constexpr, D: tl.constexpr, BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Queries [BLOCK_M, BLOCK_D] of rows [row_lo, row_hi) for one KV head; zeros outside."""
    i = tl.arange(0, BLOCK_M)
    d = tl.arange(0, BLOCK_D)
    row = row_lo + i // G
    where = row.to(tl.int64)[:, None] * stride_row + (head * G + i % G)[:, None] * stride_head + d[None, :]
    return tl.load(q + where, mask=(row < row_hi)[:, None] & (d < D)[None, :], other=0.0)


@triton.jit  # type: ignore[untyped-decorator]
def attend(  # type: ignore[no-untyped-def]
    acc, top, total, queries, k, v, stride_k, stride_v, first, last, page, page_tokens, page_start, page_lo, page_hi,
    row, row_position, scale, window, softcap, D: tl.constexpr, PAGE: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr, MASKED: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr,
):  # fmt: skip
    """One step over page-table entries [first, last): acc [M, D], running maximum and sum [M], all float32.

    k, v point at the head. Without MASKED every row must see every token of the entries.
    """
    n = tl.arange(0, BLOCK_N)
    d = tl.arange(0, BLOCK_D)
    entry = first + n // PAGE
    offset = n % PAGE
    inside = entry < last
    stored = offset < tl.load(page_tokens + entry, mask=inside, other=0)
    slot = tl.load(page + entry, mask=inside, other=0).to(tl.int64) * PAGE + offset
    real = d < D
    keys = tl.load(k + slot[None, :] * stride_k + d[:, None], mask=stored[None, :] & real[:, None], other=0.0)
    scores = tl.dot(queries, keys, input_precision="ieee")
    if SOFTCAP:
        # tanh by its exponential: exact limits at both ends, and no library call
        scores = softcap * (1.0 - 2.0 / (tl.exp2(scores * (scale / softcap) * (2.0 * LOG2E)) + 1.0)) * LOG2E
    else:
        scores = scores * (scale * LOG2E)
    visible = stored[None, :]
    if MASKED or WINDOW:
        age = row_position[:, None] - (tl.load(page_start + entry, mask=inside, other=0) + offset)[None, :]
        if MASKED:
            lo = tl.load(page_lo + entry, mask=inside, other=0)
            hi = tl.load(page_hi + entry, mask=inside, other=0)
            visible = visible & (row[:, None] >= lo[None, :]) & (row[:, None] < hi[None, :]) & (age >= 0)
        if WINDOW:
            visible = visible & (age < window)
    scores = tl.where(visible, scores, float("-inf"))
    new_top = tl.maximum(top, tl.max(scores, 1))
    base = tl.where(new_top == float("-inf"), 0.0, new_top)  # a row that sees nothing yet keeps weight 0, not NaN
    weights = tl.exp2(scores - base[:, None])
    shrink = tl.exp2(top - base)
    values = tl.load(v + slot[:, None] * stride_v + d[None, :], mask=stored[:, None] & real[None, :], other=0.0)
    acc = tl.dot(weights.to(values.dtype), values, acc * shrink[:, None], input_precision="ieee")
    return acc, new_top, total * shrink + tl.sum(weights, 1)


@triton.jit  # type: ignore[untyped-decorator]
def attend_tiles(  # type: ignore[no-untyped-def]
    q, k, v, row_lo, row_hi, head, first, mixed, last, row_positions, page, page_tokens, page_start, page_lo, page_hi,
    tile_first, tile_last, stride_q, stride_qh, stride_k, stride_kh, stride_v, stride_vh, scale, window, softcap,
    G: tl.constexpr, D: tl.constexpr, PAGE: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr,
):  # fmt: skip
    """Rows [row_lo, row_hi) of one KV head over tiles [first, mixed) without a mask and [mixed, last) with one.

    Returns acc [BLOCK_M, BLOCK_D], running maximum and sum [BLOCK_M].
    """
    k += head.to(tl.int64) * stride_kh
    v += head.to(tl.int64) * stride_vh
    row = row_lo + tl.arange(0, BLOCK_M) // G
    queries = query_tile(q, row_lo, row_hi, head, stride_q, stride_qh, G, D, BLOCK_M, BLOCK_D)
    row_position = tl.load(row_positions + row, mask=row < row_hi, other=0)
    top = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for tile in range(first, mixed):
        acc, top, total = attend(
            acc, top, total, queries, k, v, stride_k, stride_v, tl.load(tile_first + tile), tl.load(tile_last + tile),
            page, page_tokens, page_start, page_lo, page_hi, row, row_position, scale, window, softcap, D, PAGE,
            BLOCK_N, BLOCK_D, False, WINDOW, SOFTCAP,
        )  # fmt: skip
    for tile in range(mixed, last):
        acc, top, total = attend(
            acc, top, total, queries, k, v, stride_k, stride_v, tl.load(tile_first + tile), tl.load(tile_last + tile),
            page, page_tokens, page_start, page_lo, page_hi, row, row_position, scale, window, softcap, D, PAGE,
            BLOCK_N, BLOCK_D, True, WINDOW, SOFTCAP,
        )  # fmt: skip
    return acc, top, total


@triton.jit  # type: ignore[untyped-decorator]
def store_result(  # type: ignore[no-untyped-def]
    out, lse, sinks, acc, top, total, i, row_lo, row_hi, head, num_kv_heads, G: tl.constexpr, D: tl.constexpr,
    BLOCK_D: tl.constexpr, SINKS: tl.constexpr,
):  # fmt: skip
    """Finishes tile rows i of a block: out [N, Hq, D] and lse [N, Hq] in natural log, sinks joined."""
    d = tl.arange(0, BLOCK_D)
    row = row_lo + i // G
    if SINKS:
        acc, top, total = join_sink(acc, top, total, tl.load(sinks + head * G + i % G))
    result, log_total = normalise(acc, top, total)
    real = row < row_hi
    where = row.to(tl.int64) * (num_kv_heads * G) + head * G + i % G
    mask = real[:, None] & (d < D)[None, :]
    tl.store(out + where[:, None] * D + d[None, :], result.to(out.dtype.element_ty), mask=mask)
    tl.store(lse + where, log_total * LN2, mask=real)


@triton.jit  # type: ignore[untyped-decorator]
def store_partial(  # type: ignore[no-untyped-def]
    partial_out, partial_lse, acc, top, total, first_partial, real, D: tl.constexpr, BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Leaves the tile's rows at partial_out [first_partial + i, D] and partial_lse, normalised, base 2."""
    d = tl.arange(0, BLOCK_D)
    where = first_partial + tl.arange(0, BLOCK_M)
    result, log_total = normalise(acc, top, total)
    tl.store(partial_out + where[:, None] * D + d[None, :], result, mask=real[:, None] & (d < D)[None, :])
    tl.store(partial_lse + where, log_total, mask=real)


@triton.jit
def join_sink(acc, top, total, sink):  # type: ignore[no-untyped-def]
    """Lets one more logit (natural) join the softmax without a value."""
    sink = sink * LOG2E
    new_top = tl.maximum(top, sink)
    shrink = tl.exp2(top - new_top)
    return acc * shrink[:, None], new_top, total * shrink + tl.exp2(sink - new_top)


@triton.jit
def normalise(acc, top, total):  # type: ignore[no-untyped-def]
    """(out, log2-sum-exp2) of an accumulator; out 0 and -inf where nothing was seen."""
    out = acc / tl.where(total == 0.0, 1.0, total)[:, None]
    return out, top + tl.log2(total)


@triton.jit
def fold(acc, top, total, out, lse):  # type: ignore[no-untyped-def]
    """Folds one partial result (normalised, base 2) into an accumulator."""
    new_top = tl.maximum(top, lse)
    base = tl.where(new_top == float("-inf"), 0.0, new_top)
    shrink = tl.exp2(top - base)
    weight = tl.exp2(lse - base)
    return acc * shrink[:, None] + out * weight[:, None], new_top, total * shrink + weight
