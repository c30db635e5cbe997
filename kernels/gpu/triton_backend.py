"""A step's plan on a GPU: one kernel for few rows, one for many, planned once for each kind of layer."""

from __future__ import annotations

import torch

from treereason.kernels.layer import LayerShape
from treereason.kernels.options import AttentionOptions, PlannedAttention
from treereason.kernels.plan import Plan

MANY_ROWS = 512


class TritonBackend:
    """Built once per step, called once per layer; layers of one shape and window share their planned work."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._planned: dict[tuple[LayerShape, int | None], PlannedAttention] = {}

    def __call__(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, options: AttentionOptions
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shapes and meaning as in `PlannedAttention`."""
        key = LayerShape.of(q, k), options.window
        if key not in self._planned:
            self._planned[key] = self._prepare(key[0], q.device, options.window)
        return self._planned[key](q, k, v, options)

    def _prepare(self, shape: LayerShape, device: torch.device, window: int | None) -> PlannedAttention:
        # Imported here: an engine without Triton imports this module too.
        from treereason.kernels.gpu.tree_decode import TreeDecode
        from treereason.kernels.gpu.tree_extend import TreeExtend

        # Few rows leave processors idle unless long prompts are split among them; many rows need no split.
        kernel = TreeExtend if self._plan.num_rows >= MANY_ROWS else TreeDecode
        return kernel(self._plan, shape, device, windows=(window,))
