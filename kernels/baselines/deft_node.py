"""DeFT-Node: a group a node, however long. One program walks a 20k-token root alone."""

from __future__ import annotations

from treereason.kernels.baselines.deft import Deft
from treereason.kernels.baselines.groups import Cut, node_groups
from treereason.kernels.plan import Plan


class DeftNode(Deft):
    @staticmethod
    def cut(plan: Plan) -> Cut:
        return node_groups(plan, chunk_pages=None)
