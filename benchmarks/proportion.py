"""95% intervals of a share (Wilson 1927), which stay sensible at none and at all."""

from __future__ import annotations

from math import sqrt
from typing import Any

_Z = 1.959964


def proportion(hits: int, trials: int) -> dict[str, Any]:
    """`problems`, `solved` as a share, and its Wilson `interval`. Raises ValueError without trials."""
    if trials < 1:
        raise ValueError("a share needs at least one trial")
    share = hits / trials
    centre = share + _Z**2 / (2 * trials)
    half = _Z * sqrt(share * (1 - share) / trials + _Z**2 / (4 * trials**2))
    low, high = ((centre + sign * half) / (1 + _Z**2 / trials) for sign in (-1, 1))
    return {"problems": trials, "solved": share, "interval": [round(max(low, 0.0), 4), round(min(high, 1.0), 4)]}
