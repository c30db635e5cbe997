"""Decode steps over buffers that keep their addresses, so that a captured graph can be replayed from plan to plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from treereason.kernels.gpu.device_work import Capacity
from treereason.kernels.gpu.rope_store import rope_store
from treereason.kernels.gpu.store_kv import store_kv
from treereason.kernels.gpu.tree_decode import TreeDecode
from treereason.kernels.gpu.work import NoPageLeft
from treereason.kernels.layer import LayerShape
from treereason.kernels.options import AttentionOptions
from treereason.kernels.plan import Plan

LEAST_PAGES = 256


class StaticBackend:
    """Stores KV and attends in steps of one row per branch and at most `num_rows` rows; rows past a plan's are padding.

    Layers of one shape and window share planned work, made when the first of them is called: that call must not be
    captured.
    """

    def __init__(self, plan: Plan, num_rows: int) -> None:
        self._plan = plan
        self._least = Capacity(num_rows, LEAST_PAGES, num_rows, pieces=0, spans=0, merges=0)
        self._planned: dict[tuple[LayerShape, int | None], TreeDecode] = {}

    def load(self, plan: Plan) -> bool:
        """Go on with another plan.

        False when the query tile or the buffers were too small for it, and have been given up: the next call makes
        new ones, none smaller, and what was captured is void.
        """
        planned = self._planned.values()
        if planned and all(each.suits(plan) and each.work.load_if_it_fits(plan) for each in planned):
            return True
        found = [work.capacity.pages for each in planned for work in each.work.device.values()]
        self._least = replace(self._least, pages=max([self._least.pages, *found]))
        self._plan = plan
        self._planned = {}
        return False

    def advance(self, row_pages: Sequence[int]) -> bool:
        """One more token per row, stored in the page given for it, [N]; False when it is time for a new plan."""
        pages = np.array(row_pages, dtype=np.int32)
        try:
            for planned in self._planned.values():
                planned.work.advance(pages)
        except NoPageLeft:
            return False
        return True

    def __call__(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        k_pool: torch.Tensor,
        v_pool: torch.Tensor,
        options: AttentionOptions,
    ) -> torch.Tensor:
        """Stores k and v [num_rows, Hkv, D] into the pools, then attends with q [num_rows, Hq, D]: out, shaped as q.

        k_pool, v_pool: [num_slots, Hkv, D]. Rows of padding store nothing, and their part of out is 0.
        """
        planned = self._planned_for(q, k, options)
        store_kv(k, v, k_pool, v_pool, planned.work.device[options.window]["row_slot"])
        out, _lse = planned(q, k_pool, v_pool, options)
        return out

    def rotated(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        rotation: tuple[torch.Tensor, torch.Tensor],
        k_pool: torch.Tensor,
        v_pool: torch.Tensor,
        options: AttentionOptions,
    ) -> torch.Tensor:
        """As a call, of q and k that are not rotated yet. rotation: cosines and sines as in rope_store."""
        planned = self._planned_for(q, k, options)
        q = rope_store(q, k, v, *rotation, k_pool, v_pool, planned.work.device[options.window]["row_slot"])
        out, _lse = planned(q, k_pool, v_pool, options)
        return out

    def _planned_for(self, q: torch.Tensor, k: torch.Tensor, options: AttentionOptions) -> TreeDecode:
        key = LayerShape.of(q, k), options.window
        if key not in self._planned:
            self._planned[key] = TreeDecode(self._plan, key[0], q.device, windows=(options.window,), least=self._least)
        return self._planned[key]
