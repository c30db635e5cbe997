"""How each row of a step is drawn, as tensors; and what of it the host must know."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from treereason.core import Sampling


class Cuts(NamedTuple):
    """What rows leave out of their distributions, for code that may not ask a tensor for its values.

    some: whether any row leaves tokens out. most_k: the largest top_k of all rows, 0 when none has one.
    """

    some: bool = False
    most_k: int = 0

    @classmethod
    def of(cls, samplings: Iterable[Sampling]) -> Cuts:
        """Those of rows that are drawn so."""
        given = set(samplings)
        most_k = max((sampling.top_k for sampling in given), default=0)
        return cls(most_k > 0 or any(s.top_p < 1 or s.min_p > 0 for s in given), most_k)


@dataclass(frozen=True)
class SamplingRows:
    """B rows. temperature, top_p, min_p: [B] float32. top_k: [B] int32, 0 for all tokens. cuts: of all rows."""

    temperature: torch.Tensor
    top_p: torch.Tensor
    min_p: torch.Tensor
    top_k: torch.Tensor
    cuts: Cuts

    @classmethod
    def of(cls, samplings: Sequence[Sampling], device: torch.device | None = None) -> SamplingRows:
        """One row per sampling, in their order."""
        values = [(s.temperature, s.top_p, s.min_p) for s in samplings]  # by way of numpy: a third of the time
        shares = torch.from_numpy(np.array(values, dtype=np.float32).reshape(-1, 3)).to(device)
        top_k = torch.from_numpy(np.array([s.top_k for s in samplings], dtype=np.int32)).to(device)
        return cls(shares[:, 0], shares[:, 1], shares[:, 2], top_k, Cuts.of(samplings))
