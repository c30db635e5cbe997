"""Efficient tree search (Hooper et al. 2025, arXiv 2502.13575, section 4): REBASE that prunes by what KV costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from treereason.core import Thought, Tree
from treereason.search.leaf_choice import best_leaves
from treereason.search.limits import Temperature, Weight
from treereason.search.rebase import Rebase
from treereason.search.softmax import softmax
from treereason.search.upper_bounds import value_of


@dataclass(frozen=True)
class ETS(Rebase):
    """REBASE among those leaves S that maximise W_S - lambda_b V_S / V + lambda_d C_S / C; equal leaves are one.

    W_S is the sum of the softmax of the scores, V_S the KV tokens in whole pages that the paths to S hold (the paper
    counts nodes), C_S the number of clusters in S. The paper clusters embeddings; without a model of those a cluster is
    one text, and its best scored leaf alone counts for it. So the choice is exact where no two leaves have one text;
    otherwise it falls short of the best by lambda_d times the share of texts that several leaves have, at most.
    Needs a model on this machine, whose KV can be counted.
    """

    balance: Annotated[Temperature, Field(description="temperature T_b of the softmax of the scores")] = 0.2
    lambda_b: Annotated[Weight, Field(description="weight of the KV that is held")] = 1.0
    lambda_d: Annotated[Weight, Field(description="weight of the different texts that go on")] = 1.0

    def going_on(self, tree: Tree, thoughts: list[Thought]) -> list[Thought]:
        leaves = tree.keep(thoughts, len(thoughts))
        worth = dict(zip(leaves, softmax([value_of(leaf) for leaf in leaves], self.balance), strict=True))
        clusters = {leaf.text: leaf for leaf in reversed(leaves)}  # the best comes first
        for leaf in clusters.values():
            worth[leaf] += self.lambda_d / len(clusters)
        chosen = best_leaves(worth, tree.kv_tokens, self.lambda_b)
        tree.drop(leaf for leaf in leaves if leaf not in chosen)
        return chosen
