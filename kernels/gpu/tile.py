"""What every Triton kernel here shares: tile shapes, and one online-softmax step over one KV tile.

A tile of queries holds the G query heads of one KV head for BLOCK_M // G rows: tile row i is query row
lo + i // G and head i % G. A tile of KV is BLOCK_N // PAGE pages, which may belong to several nodes. Softmax runs in
base 2, because the hardware's exponential does.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)
LN2 = tl.constexpr(0.6931471805599453)

BLOCK_MS = (16, 32, 64)
SHARED_LIMIT = {"sm_90": 227 * 1024, "sm_80": 163 * 1024, "sm_120": 99 * 1024, "gfx942": 64 * 1024}
"""Bytes of shared memory that one program may use."""


@dataclass(frozen=True)
class Tile:
    """Compile-time shape of a kernel: query tile rows, KV tile tokens, and the compiler's knobs.

    registers: most a thread may use. Unset, ptxas spills a little to fit more programs on a processor; two of 4 warps
    fit with 255 as well. AMD's compiler has no such knob.
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

    def pages(self, page_size: int) -> int:
        """Pages of a KV tile. Raises ValueError where these are not 1, 2 or 4: kernels hold each in a scalar."""
        if page_size not in {self.block_n // n for n in (1, 2, 4)}:
            raise ValueError(f"a KV tile of {self.block_n} tokens cannot be 1, 2 or 4 pages of {page_size} tokens")
        return self.block_n // page_size

    def options(self) -> dict[str, int]:
        """Launch options."""
        options = {"num_warps": self.warps, "num_stages": self.stages}
        return options if self.registers is None else {**options, "maxnreg": self.registers}


def choose_tile(query_rows: int, head_dim: int, dtype: torch.dtype, arch: str) -> Tile:
    """The smallest tile that holds `query_rows` (rows x G), among those that compile without spills (docs/kernels.md).

    arch: one of `arch_of`. More than 64 rows gain nothing: two programs of 64 hide each other's waits.
    """
    wide = max(64, block_d(head_dim))
    warps, stages = 4, 3
    if dtype == torch.float32:
        most, block_n, stages = {64: 64, 128: 32, 256: 16}[wide], 16, 2
        warps = 8 if query_rows > 16 or wide > 128 else 4
    elif arch == "gfx942":
        most, block_n, stages = 32 if wide > 128 else 64, 32, 2
    else:
        block_n = 64 if arch == "sm_90" and wide <= 128 else 32
        most = 32 if arch == "sm_120" and wide > 128 else 64
        if query_rows > 32 and most > 32 and (wide > 128 or (wide > 64 and arch == "sm_80")):
            warps = 8
    block_m = next(m for m in BLOCK_MS if m >= min(query_rows, most))
    return Tile(block_m, block_n, warps, stages, registers=None if arch == "gfx942" else 255)


def arch_of(device: torch.device | str) -> str:
    """The architecture whose tile shapes suit a device, by the shared memory of a program; the interpreter: sm_90.

    "sm_90": 227 KB. "sm_80": 163 KB. "sm_120": 99 KB, consumer cards of all generations. "gfx942": AMD.
    Raises ValueError for an NVIDIA card that has less.
    """
    if torch.device(device).type != "cuda":
        return "sm_90"
    if torch.version.hip is not None:
        return "gfx942"
    index = torch.device(device).index
    properties = triton.runtime.driver.active.utils.get_device_properties
    shared = properties(torch.cuda.current_device() if index is None else index)["max_shared_mem"]
    for arch in ("sm_90", "sm_80", "sm_120"):
        if shared >= SHARED_LIMIT[arch]:
            return arch
    raise ValueError(
        f"{device}: a program may use {shared:,} bytes of shared memory, and the tiles need {SHARED_LIMIT['sm_120']:,}"
    )


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
    flat = row_lo * G + tl.arange(0, BLOCK_M)  # divided piece by piece: computed once, it would occupy registers
    d = tl.arange(0, BLOCK_D)
    row = flat // G
    where = row.to(tl.int64)[:, None] * stride_row + (head * G + flat % G)[:, None] * stride_head + d[None, :]
    return tl.load(q + where, mask=(row < row_hi)[:, None] & (d < D)[None, :], other=0.0)


@triton.jit  # type: ignore[untyped-decorator]
def of_pages(values, tile, PAGES: tl.constexpr):  # type: ignore[no-untyped-def]
    """One value for each page of a tile, as scalars: a load a page, not one a token. PAGES: 1, 2 or 4."""
    first = tile * PAGES
    a = tl.load(values + first)
    b = a
    c = a
    d = a
    if PAGES >= 2:
        b = tl.load(values + first + 1)
    if PAGES == 4:
        c = tl.load(values + first + 2)
        d = tl.load(values + first + 3)
    return a, b, c, d


@triton.jit  # type: ignore[untyped-decorator]
def of_tokens(values, in_page, PAGES: tl.constexpr):  # type: ignore[no-untyped-def]
    """The tile's values by token instead of by page. in_page: of each token, the page; values broadcast against it."""
    spread = tl.where(in_page == 0, values[0], values[1])
    if PAGES == 4:
        spread = tl.where(in_page < 2, spread, tl.where(in_page == 2, values[2], values[3]))
    return spread


@triton.jit
def visible_tokens(seen, start, row, row_position):  # type: ignore[no-untyped-def]
    """[M] how many tokens of a page each row may see, by the rule of one interval and one comparison of positions."""
    may = (row >= (seen & 0xFF)) & (row < ((seen >> 8) & 0xFF))
    return tl.where(may, tl.minimum(seen >> 16, row_position - start + 1), 0)


@triton.jit  # type: ignore[untyped-decorator]
def mask_scores(  # type: ignore[no-untyped-def]
    scores, tile, page_seen, page_start, row, row_position, window, PAGE: tl.constexpr, BLOCK_N: tl.constexpr,
    WINDOW: tl.constexpr,
):  # fmt: skip
    """Scores [M, N], -inf where the row may not see the token. Compares by row and page first: those are few."""
    seen = of_pages(page_seen, tile, BLOCK_N // PAGE)
    start = of_pages(page_start, tile, BLOCK_N // PAGE)
    n = tl.arange(0, BLOCK_N)[None, :]
    a = visible_tokens(seen[0], start[0], row, row_position)[:, None]
    b = visible_tokens(seen[1], start[1], row, row_position)[:, None]
    c = visible_tokens(seen[2], start[2], row, row_position)[:, None]
    d = visible_tokens(seen[3], start[3], row, row_position)[:, None]
    visible = n % PAGE < of_tokens((a, b, c, d), n // PAGE, BLOCK_N // PAGE)
    if WINDOW:
        oldest = (row_position - window + 1)[:, None]
        before = of_tokens(
            (oldest - start[0], oldest - start[1], oldest - start[2], oldest - start[3]), n // PAGE, BLOCK_N // PAGE
        )
        visible &= n % PAGE >= before
    return tl.where(visible, scores, float("-inf"))


@triton.jit  # type: ignore[untyped-decorator]
def attend(  # type: ignore[no-untyped-def]
    acc, top, total, queries, k, v, stride_k, stride_v, tile, slots, seen, page_seen, page_start, row, row_position,
    scale, window, softcap, D: tl.constexpr, PAGE: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
    MASKED: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr,
):  # fmt: skip
    """One step over a tile: acc [M, D], running maximum and sum [M], all float32.

    k, v point at the head. slots, seen: page_slot and page_seen of its pages, loaded before. row: [M], counted from
    the block's first. Without MASKED the pages are full and every row sees all of them.
    """
    n = tl.arange(0, BLOCK_N)
    d = tl.arange(0, BLOCK_D)
    in_page = n // PAGE
    offset = n % PAGE
    slot = (of_tokens(slots, in_page, BLOCK_N // PAGE) + offset).to(tl.int64)
    k_where = k + slot[None, :] * stride_k + d[:, None]
    v_where = v + slot[:, None] * stride_v + d[None, :]
    if MASKED:
        stored = offset < of_tokens(seen, in_page, BLOCK_N // PAGE) >> 16
        keys = tl.load(k_where, mask=stored[None, :] & (d < D)[:, None], other=0.0)
        values = tl.load(v_where, mask=stored[:, None] & (d < D)[None, :], other=0.0)
    elif D < BLOCK_D:
        keys = tl.load(k_where, mask=(d < D)[:, None], other=0.0)
        values = tl.load(v_where, mask=(d < D)[None, :], other=0.0)
    else:
        keys = tl.load(k_where)
        values = tl.load(v_where)
    scores = tl.dot(queries, keys, input_precision="ieee")
    to_base_2 = scale * LOG2E
    if SOFTCAP:
        # tanh by its exponential: exact limits at both ends, and no library call
        scores = softcap * (1.0 - 2.0 / (tl.exp2(scores * (scale / softcap) * (2.0 * LOG2E)) + 1.0))
        to_base_2 = LOG2E
    if MASKED:
        scores = mask_scores(scores, tile, page_seen, page_start, row, row_position, window, PAGE, BLOCK_N, WINDOW)
    new_top = tl.maximum(top, tl.max(scores, 1) * to_base_2)
    base = new_top
    if MASKED:
        base = tl.where(new_top == float("-inf"), 0.0, new_top)  # a row that sees nothing yet keeps weight 0, not NaN
    weights = tl.exp2(scores * to_base_2 - base[:, None])
    shrink = tl.exp2(top - base)
    acc = tl.dot(weights.to(values.dtype), values, acc * shrink[:, None], input_precision="ieee")
    return acc, new_top, total * shrink + tl.sum(weights, 1)


@triton.jit  # type: ignore[untyped-decorator]
def attend_tiles(  # type: ignore[no-untyped-def]
    q, k, v, row_lo, row_hi, head, first, mixed, last, row_positions, page_slot, page_seen, page_start, stride_q,
    stride_qh, stride_k, stride_kh, stride_v, stride_vh, scale, window, softcap, G: tl.constexpr, D: tl.constexpr,
    PAGE: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, WINDOW: tl.constexpr,
    SOFTCAP: tl.constexpr,
):  # fmt: skip
    """Rows [row_lo, row_hi) of one KV head over tiles [first, mixed) without a mask and [mixed, last) with one.

    What a tile's pages are is loaded while the tile before is computed: only then does the compiler's pipeline
    fetch keys and values ahead, which it will not do behind a load of its own loop (docs/kernels.md).
    Returns acc [BLOCK_M, BLOCK_D], running maximum and sum [BLOCK_M].
    """
    k += head.to(tl.int64) * stride_kh
    v += head.to(tl.int64) * stride_vh
    row = (row_lo * G + tl.arange(0, BLOCK_M)) // G - row_lo
    queries = query_tile(q, row_lo, row_hi, head, stride_q, stride_qh, G, D, BLOCK_M, BLOCK_D)
    row_position = tl.load(row_positions + row_lo + row, mask=row_lo + row < row_hi, other=0)
    top = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    slots = of_pages(page_slot, first, BLOCK_N // PAGE)
    for tile in range(first, mixed):
        here = slots
        slots = of_pages(page_slot, tile + 1, BLOCK_N // PAGE)
        acc, top, total = attend(
            acc, top, total, queries, k, v, stride_k, stride_v, tile, here, here, page_seen, page_start, row,
            row_position, scale, window, softcap, D, PAGE, BLOCK_N, BLOCK_D, False, WINDOW, SOFTCAP,
        )  # fmt: skip
    seen = of_pages(page_seen, mixed, BLOCK_N // PAGE)
    for tile in range(mixed, last):
        here = slots
        here_seen = seen
        slots = of_pages(page_slot, tile + 1, BLOCK_N // PAGE)
        seen = of_pages(page_seen, tile + 1, BLOCK_N // PAGE)
        acc, top, total = attend(
            acc, top, total, queries, k, v, stride_k, stride_v, tile, here, here_seen, page_seen, page_start, row,
            row_position, scale, window, softcap, D, PAGE, BLOCK_N, BLOCK_D, True, WINDOW, SOFTCAP,
        )  # fmt: skip
    return acc, top, total


@triton.jit  # type: ignore[untyped-decorator]
def store_result(  # type: ignore[no-untyped-def]
    out, lse, sinks, acc, top, total, i, row_lo, row_hi, head, num_kv_heads, G: tl.constexpr, D: tl.constexpr,
    BLOCK_D: tl.constexpr, SINKS: tl.constexpr,
):  # fmt: skip
    """Finishes tile rows i of a block: out [N, Hq, D] and lse [N, Hq] in natural log, sinks joined."""
    d = tl.arange(0, BLOCK_D)
    flat = row_lo * G + i
    row = flat // G
    if SINKS:
        acc, top, total = join_sink(acc, top, total, tl.load(sinks + head * G + flat % G))
    result, log_total = normalise(acc, top, total)
    real = row < row_hi
    where = row.to(tl.int64) * (num_kv_heads * G) + head * G + flat % G
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
