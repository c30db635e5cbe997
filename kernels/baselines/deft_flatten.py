"""DeFT-Flatten: equal chunks over the flattened KV of all nodes, masked where a chunk spans several."""

from __future__ import annotations

from treereason.kernels.baselines.deft import Deft
from treereason.kernels.baselines.groups import CHUNK_TOKENS, Cut, flat_groups
from treereason.kernels.plan import Plan


class DeftFlatten(Deft):
    @staticmethod
    def cut(plan: Plan) -> Cut:
        return flat_groups(plan, chunk_pages=CHUNK_TOKENS // plan.page_size)
