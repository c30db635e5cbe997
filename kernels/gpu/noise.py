"""Gumbel noise as a function of (key, position, vocabulary id): a counter hash, no generator and no state.

Uniforms are odd multiples of 2^-24, exact in float32, so there are 2^23 noises in all.
"""

from __future__ import annotations

import triton
import triton.language as tl

NOISE_LIMIT = tl.constexpr(16.7)
"""Above the largest noise, 16.64."""


@triton.jit
def mix(x):  # type: ignore[no-untyped-def]
    """Finaliser of MurmurHash3 (64 bit, public domain) on uint64, which wraps around."""
    x = x ^ (x >> 33)
    x = x * 0xFF51AFD7ED558CCD
    x = x ^ (x >> 33)
    x = x * 0xC4CEB9FE1A85EC53
    return x ^ (x >> 33)


@triton.jit
def bits_of_ids(row, ids):  # type: ignore[no-untyped-def]
    """[ROWS, N] int32 from 0 to 2^23 - 1. row: [ROWS, 1] uint64, mix(mix(key) + position). ids: [1, N] int32."""
    return (mix(row + ids.to(tl.uint64)) >> 41).to(tl.int32)


@triton.jit
def uniform_of_bits(bits):  # type: ignore[no-untyped-def]
    """(bits + 0.5) * 2^-23 in float32, exactly: 1 + bits * 2^-23 by its bits, less 1 - 2^-24."""
    return (bits | 0x3F800000).to(tl.float32, bitcast=True) - 0.999999940395355224609375


@triton.jit
def gumbel(uniform):  # type: ignore[no-untyped-def]
    """The noise of a uniform. `tl.log` is the vendor's library in full precision, which torch calls as well."""
    return -tl.log(-tl.log(uniform))


@triton.jit
def gumbel_bound(uniform):  # type: ignore[no-untyped-def]
    """At least `gumbel`, and at most 0.09 more where that is above 3; a few operations instead of two logarithms.

    -log(u) >= 1 - u, and a float's bits, read as a number, lie below its logarithm in base 2 by at most 0.0861.
    """
    bits = (1.0 - uniform).to(tl.int32, bitcast=True).to(tl.float32)
    return 88.031 - bits * 8.262958294867817e-08  # (127 * 2^23 - bits) * log(2) * 2^-23, and 0.001 for rounding
