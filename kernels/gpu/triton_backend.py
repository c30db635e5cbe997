"""A step's plan on a GPU: one kernel for few rows a branch, one for many, planned once for each kind of layer."""

from __future__ import annotations

import torch

from treereason.kernels.plan import Plan
from treereason.kernels.providers import Attention, prepare

MANY_ROWS = 512


class TritonBackend:
    """Built once a step, called once a layer; layers of one shape and window share their planned work."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        # Few rows leave processors idle unless long prompts are split among them; many rows need no split.
        self._provider = "tree_extend" if plan.num_rows >= MANY_ROWS else "tree_decode"
        self._planned: dict[tuple[int, int, int, torch.dtype, int | None], Attention] = {}

    def __call__(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        *,
        scale: float,
        window: int | None = None,
        softcap: float | None = None,
        sinks: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shapes and meaning as in `reference_attention`."""
        key = (q.shape[1], k.shape[1], q.shape[2], q.dtype, window)
        if key not in self._planned:
            self._planned[key] = prepare(self._provider, self._plan, q, k, windows=(window,))
        return self._planned[key](q, k, v, scale=scale, window=window, softcap=softcap, sinks=sinks)
