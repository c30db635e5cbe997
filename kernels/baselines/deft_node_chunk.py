"""DeFT-Node-Chunk: nodes longer than a chunk are cut, so that they spread; short ones stay small groups."""

from __future__ import annotations

from treereason.kernels.baselines.deft import Deft
from treereason.kernels.baselines.groups import CHUNK_TOKENS, Cut, node_groups
from treereason.kernels.plan import Plan


class DeftNodeChunk(Deft):
    @staticmethod
    def cut(plan: Plan) -> Cut:
        return node_groups(plan, chunk_pages=CHUNK_TOKENS // plan.page_size)
